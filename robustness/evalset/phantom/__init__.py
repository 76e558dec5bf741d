"""Synthetic chest radiographs with free-text reports, generated from a seed without downloads.

The findings of a study are drawn first. Its image and its report are both generated from
them, so that retrieval between the two works, and fails if the relevant part of the image is
hidden. Phantoms are not patients: no result on them is evidence of a model's performance on
patients.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
import PIL

from robustness.errors import UsageError
from robustness.evalset._base import EvaluationSet, Pair, Remember, Report, forget
from robustness.evalset.images import Image
from robustness.evalset.phantom import _findings, _render, _report
from robustness.evalset.phantom._findings import Findings, Place, Sided, labels

__all__ = [
    "Findings", "Place", "Purpose", "Sided", "Study", "check", "finding_names", "labels", "load",
]  # fmt: skip

GENERATOR = "phantom-1"
"""Version of the generator; must change when any study changes in its image, report or labels."""

_GENERATION = f"{GENERATOR} numpy {np.__version__} pillow {PIL.__version__}"
_MAX_STUDIES = 1_000_000
_MAX_SEED = 2**32 - 1
_IMAGE_ID = "phantom-{seed}-{index:05d}"
_SPEC = re.compile(r"(?P<count>[0-9]{1,10})(?::(?P<seed>[0-9]{1,10}))?", re.ASCII)


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


def load(spec_rest: str, *, remember: Remember = forget) -> EvaluationSet:  # noqa: ARG001
    """Load the phantom evaluation set; images are rendered when they are decoded.

    Study i of a seed does not depend on N: ``phantom:64`` is the start of ``phantom:512``.

    Args:
        spec_rest: The specification after ``phantom:``: ``N`` or ``N:SEED``, with N from 1 to
            1,000,000; SEED defaults to 0.
        remember: Unused: nothing here is slow enough to cache.

    Raises:
        UsageError: The specification has another form, or N or SEED is out of range.
    """
    count, seed = _parse(spec_rest)
    return EvaluationSet(
        spec=f"phantom:{spec_rest}",
        pairs=tuple(_pair(seed, index) for index in range(count)),
        decode=_decode,
    )


def check(spec_rest: str) -> None:
    """Check that a specification is well formed; generate nothing.

    Raises:
        UsageError: Same as :func:`load`.
    """
    _parse(spec_rest)


def _parse(spec_rest: str) -> tuple[int, int]:
    form = _SPEC.fullmatch(spec_rest)
    count = int(form["count"]) if form else 0
    seed = int(form["seed"] or 0) if form else 0
    if not (1 <= count <= _MAX_STUDIES and seed <= _MAX_SEED):
        raise UsageError(
            f"evaluation set {f'phantom:{spec_rest}'!r} is not phantom:N or phantom:N:SEED with"
            f" N from 1 to {_MAX_STUDIES} and SEED from 0 to {_MAX_SEED}, such as phantom:512"
        )
    return count, seed


def _pair(seed: int, index: int) -> Pair:
    study = Study(seed, index)
    identity = _IMAGE_ID.format(seed=seed, index=index)
    return Pair(
        image_id=identity,
        study_id=identity,
        patient_id=identity,
        view=study.findings.view,
        report=study.report(),
        digest=hashlib.sha256(f"{_GENERATION} {seed} {index}".encode()).hexdigest(),
        labels=finding_names(study.findings),
    )


def finding_names(findings: Findings) -> frozenset[str]:
    """Return the names of the findings, without side, grade and zone.

    The names are the observations of CheXpert (Irvin et al. 2019) that a phantom can show.
    CheXpert has no name for the other findings (scoliosis, a hernia, a tortuous aorta). With a
    name for each of them, hardly two studies would have equal labels. The names describe what
    was drawn; a report may omit some of it.

    Returns:
        The names; empty if the study shows none of them.
    """
    f = findings
    present = {
        "atelectasis": any(f.atelectasis),
        "cardiomegaly": f.heart > 0,
        "consolidation": bool(f.consolidations),
        "edema": f.oedema > 0,
        "fracture": f.fracture is not None,
        "lung lesion": f.many_nodules or any((f.mass, f.nodule)),
        "pleural effusion": any(f.effusion),
        "pneumothorax": any(f.pneumothorax),
        "support devices": any((f.endotracheal_tube, f.gastric_tube, f.pacemaker, f.line, f.drain)),
    }
    return frozenset(name for name, is_present in present.items() if is_present)


def _decode(pair: Pair) -> Image:
    _, seed, index = pair.image_id.split("-")
    return Study(int(seed), int(index)).image()
