"""One study from a seed and an index: its findings, image and report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np

from robustness.evalset._base import Report
from robustness.evalset.images import Image
from robustness.evalset.phantom import _findings, _render, _report
from robustness.evalset.phantom._findings import Findings


class Purpose(IntEnum):
    """The use of a study; each purpose has its own random streams."""

    EVALUATION = 0
    TRAINING = 1


class _Part(IntEnum):
    FINDINGS = 0
    IMAGE = 1
    REPORT = 2


@dataclass(frozen=True)
class Study:
    """A study, determined by its seed, index and purpose.

    Attributes:
        seed: Seed of the set, at least 0.
        index: Index of the study in the set, at least 0.
        purpose: Evaluation or training; the two have no study in common.
    """

    seed: int
    index: int
    purpose: Purpose = Purpose.EVALUATION

    @cached_property
    def findings(self) -> Findings:
        """The findings of the study."""
        return _findings.draw(self._rng(_Part.FINDINGS))

    def report(self) -> Report:
        """Return the report."""
        return _report.dictate(self.findings, self._rng(_Part.REPORT))

    def image(self) -> Image:
        """Render the radiograph, uint8 ``[224, 224]``; 0 is black."""
        return _render.render(self.findings, self._rng(_Part.IMAGE))

    def _rng(self, part: _Part) -> np.random.Generator:
        key = (int(self.purpose), self.index, int(part))
        return np.random.Generator(
            np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=key))
        )
