"""The Indiana University chest X-ray collection (Open-i), as it unpacks.

Kohli and Rosenman, Indiana University, CC BY-NC-ND 4.0. ``ecgen-radiology/<uid>.xml`` holds
a study's report and names its images; ``images/<id>.jpg`` or ``.png`` holds each image.
The collection names no patients, so a study stands for its patient.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from xml.etree import ElementTree as ET

from robustness.errors import EvaluationSetError, UsageError
from robustness.evalset._base import (
    SECTIONS,
    EvaluationSet,
    Exclusion,
    Image,
    Pair,
    Remember,
    Report,
    forget,
)
from robustness.evalset._decode import read_image
from robustness.evalset._view import FRONTAL, frontal_score

REPORTS = "ecgen-radiology"
IMAGES = "images"
SUFFIXES = (".png", ".jpg", ".jpeg")

NO_REPORT = "no findings and no impression"
NO_IMAGE = "no image named in the report"
NO_FRONTAL = "study without a frontal view"
OTHER_VIEW = "lateral, or not the most frontal of its study"


def check(directory: str) -> None:
    """Sees that a folder has the collection's layout; reads nothing in it.

    Raises:
        UsageError: The folder is missing or has another layout.
    """
    reports = Path(directory).expanduser() / REPORTS
    if not directory or not reports.is_dir():
        raise UsageError(
            f"evaluation set {f'open_i:{directory}'!r}: no folder {reports};"
            f" name the folder that holds {REPORTS}/ and {IMAGES}/"
        )


def load(directory: str, *, remember: Remember = forget) -> EvaluationSet:  # noqa: ARG001
    """Reads the frontal views, one a study, with their reports.

    The reports name the images but not their views, and about one in seven names a
    lateral view first, so the views are told from the images. Left out, and counted by
    reason: studies whose report has neither findings nor an impression, studies without
    an image or without a frontal one, and every image of a study but the most frontal.

    Args:
        directory: The folder that holds ``ecgen-radiology`` and ``images``.
        remember: Keeps what is slow to find out.

    Raises:
        UsageError: The folder is missing or has another layout.
        EvaluationSetError: A report cannot be read, or an image it names is missing.
    """
    check(directory)
    root = Path(directory).expanduser()
    pairs: list[Pair] = []
    excluded: list[Exclusion] = []
    files: dict[str, Path] = {}
    for path in sorted((root / REPORTS).glob("*.xml"), key=_by_number):
        study, report, images = _read_study(path)
        if not report.text(("findings", "impression")):
            excluded.append(Exclusion(study, NO_REPORT))
            continue
        if not images:
            excluded.append(Exclusion(study, NO_IMAGE))
            continue
        found = {image: _find_image(root / IMAGES, image, path) for image in images}
        scores = {image: frontal_score(read_image(file)) for image, file in found.items()}
        chosen = max(images, key=scores.__getitem__)
        if scores[chosen] < FRONTAL:
            excluded.append(Exclusion(study, NO_FRONTAL))
            continue
        excluded += [Exclusion(image, OTHER_VIEW) for image in images if image != chosen]
        files[chosen] = found[chosen]
        digest = hashlib.sha256(found[chosen].read_bytes()).hexdigest()
        pairs.append(Pair(chosen, study, study, "frontal", report, digest))

    def decode(pair: Pair) -> Image:
        return read_image(files[pair.image_id])

    return EvaluationSet(f"open_i:{directory}", tuple(pairs), decode, tuple(excluded))


def _by_number(path: Path) -> tuple[int, str]:
    number = re.sub(r"\D", "", path.stem)
    return (int(number) if number else 0, path.name)


def _read_study(path: Path) -> tuple[str, Report, list[str]]:
    """A study's id, its report, and the ids of its images in the order they are named."""
    content = path.read_bytes()
    if b"<!ENTITY" in content:
        raise EvaluationSetError(f"report {path} declares XML entities; reports have none")
    try:
        root = ET.fromstring(content)  # noqa: S314 - entities are refused above
    except ET.ParseError as error:
        raise EvaluationSetError(f"report {path} is not well-formed XML: {error}") from error
    sections = {
        label: " ".join("".join(element.itertext()).split())
        for element in root.iter("AbstractText")
        if (label := (element.get("Label") or "").lower()) in SECTIONS
    }
    identifier = root.find("uId")
    study = identifier.get("id", "") if identifier is not None else ""
    if not study:
        raise EvaluationSetError(f"report {path} has no uId element with an id")
    images = [image.get("id", "") for image in root.iter("parentImage")]
    return study, Report(**sections), images


def _find_image(folder: Path, image: str, report: Path) -> Path:
    if not re.fullmatch(r"[\w.-]+", image):
        raise EvaluationSetError(f"report {report} names image {image!r}, which is no file stem")
    for suffix in SUFFIXES:
        path = folder / f"{image}{suffix}"
        if path.is_file():
            return path
    raise EvaluationSetError(
        f"image {folder / image}{{{','.join(SUFFIXES)}}} does not exist; report {report} names it"
    )
