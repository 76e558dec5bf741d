"""Synthetic chest radiographs with free-text reports, generated from a seed without downloads.

The findings of a study are drawn first. Its image and its report are both generated from
them, so that retrieval between the two works, and fails if the relevant part of the image is
hidden. Phantoms are not patients: no result on them is evidence of a model's performance on
patients.
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

_MAX_STUDIES = 1_000_000
_MAX_SEED = 2**32 - 1
_IMAGE_ID = "phantom-{seed}-{index:05d}"
_SPEC = re.compile(r"(?P<count>[0-9]{1,10})(?::(?P<seed>[0-9]{1,10}))?", re.ASCII)


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
        digest=hashlib.sha256(f"{_generator_hash()} {seed} {index}".encode()).hexdigest(),
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


@cache
def _generator_hash() -> str:
    """Hash everything that shapes a phantom: the code of this package and its libraries."""
    digest = hashlib.sha256(f"numpy {np.__version__} pillow {PIL.__version__}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
