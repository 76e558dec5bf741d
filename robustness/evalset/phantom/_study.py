"""One study, from a seed and an index: what it shows, its image, its report."""

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
    """What studies are drawn for: each purpose has random streams of its own."""

    EVALUATION = 0
    TRAINING = 1


class _Part(IntEnum):
    FINDINGS = 0
    IMAGE = 1
    REPORT = 2


@dataclass(frozen=True)
class Study:
    """A study that depends on its seed, index and purpose alone.

    Attributes:
        seed: The set's seed, from 0 on.
        index: The study's place in the set, from 0 on.
        purpose: Evaluation or training; their studies have nothing in common.
    """

    seed: int
    index: int
    purpose: Purpose = Purpose.EVALUATION

    @cached_property
    def findings(self) -> Findings:
        """What the study shows."""
        return _findings.draw(self._rng(_Part.FINDINGS))

    def report(self) -> Report:
        """What was dictated."""
        return _report.dictate(self.findings, self._rng(_Part.REPORT))

    def image(self) -> Image:
        """The radiograph: uint8 ``[224, 224]``, 0 black."""
        return _render.render(self.findings, self._rng(_Part.IMAGE))

    def _rng(self, part: _Part) -> np.random.Generator:
        key = (int(self.purpose), self.index, int(part))
        return np.random.Generator(
            np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=key))
        )
