"""Procedural chest radiographs with free-text reports, from a seed; nothing is downloaded.

What a study shows is drawn first; its image and its report are made from that, so that
retrieval between the two can work, and breaks where the image is hidden. These are not
patients, and nothing that holds here is evidence of how a model does on patients.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

import numpy as np
import PIL

from robustness.errors import UsageError
from robustness.evalset._base import EvaluationSet, Pair, Remember, forget
from robustness.evalset.images import Image
from robustness.evalset.phantom._findings import Findings, Place, Sided, labels
from robustness.evalset.phantom._study import Purpose, Study

__all__ = [
    "Findings",
    "Place",
    "Purpose",
    "Sided",
    "Study",
    "check",
    "finding_names",
    "labels",
    "load",
]

_MOST_STUDIES = 1_000_000
_MOST_SEED = 2**32 - 1
_IMAGE_ID = "phantom-{seed}-{index:05d}"
_SPEC = re.compile(r"(?P<count>[0-9]{1,10})(?::(?P<seed>[0-9]{1,10}))?", re.ASCII)


def load(spec_rest: str, *, remember: Remember = forget) -> EvaluationSet:  # noqa: ARG001
    """Loads the phantom evaluation set; images are drawn when they are decoded.

    Study i of a seed is the same whatever N: ``phantom:64`` begins ``phantom:512``.

    Args:
        spec_rest: What follows ``phantom:`` in the specification: ``N`` or ``N:SEED``,
            N from 1 to 1,000,000, SEED 0 unless given.
        remember: Of no account: there is nothing here that is slow to find out.

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
    """Sees that a specification is well formed; makes nothing.

    Raises:
        UsageError: As for :func:`load`.
    """
    _parse(spec_rest)


def _parse(spec_rest: str) -> tuple[int, int]:
    form = _SPEC.fullmatch(spec_rest)
    count = int(form["count"]) if form else 0
    seed = int(form["seed"] or 0) if form else 0
    if not (1 <= count <= _MOST_STUDIES and seed <= _MOST_SEED):
        raise UsageError(
            f"evaluation set {f'phantom:{spec_rest}'!r} is not phantom:N or phantom:N:SEED with"
            f" N from 1 to {_MOST_STUDIES} and SEED from 0 to {_MOST_SEED}, as phantom:512 is"
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
        digest=hashlib.sha256(f"{_generator()} {seed} {index}".encode()).hexdigest(),
        labels=finding_names(study.findings),
    )


def finding_names(findings: Findings) -> frozenset[str]:
    """The findings by name, as coarse as CheXpert's: no side, no grade, no place.

    They are the observations of CheXpert (Irvin et al. 2019) that a phantom can show.
    What else it shows (scoliosis, a hernia, a tortuous aorta) has no name there, and with
    a name for each of them hardly two studies would have the same findings. They are what
    was drawn: a report may leave one of them out.

    Returns:
        Empty where the study shows none of them.
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
    return frozenset(name for name, is_there in present.items() if is_there)


def _decode(pair: Pair) -> Image:
    _, seed, index = pair.image_id.split("-")
    return Study(int(seed), int(index)).image()


@cache
def _generator() -> str:
    """A hash of everything that shapes a phantom: this package's code, and its libraries."""
    digest = hashlib.sha256(f"numpy {np.__version__} pillow {PIL.__version__}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
