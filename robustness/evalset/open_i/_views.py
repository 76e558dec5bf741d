"""Which images are frontal: from a table, the DICOM header, or the image itself."""

from __future__ import annotations

import csv
import hashlib
import math
import struct
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustness.errors import EvaluationSetError
from robustness.evalset._base import Remember
from robustness.evalset._files import digests
from robustness.evalset._view import FRONTAL, SCORING, frontal_score
from robustness.evalset.images.decode import read_image
from robustness.evalset.images.decoder_warnings import settled_warnings
from robustness.evalset.open_i._layout import SUFFIXES, key

TABLE = "indiana_projections.csv"
COLUMNS = ("uid", "filename", "projection")
VIEWS = ("frontal", "lateral")

SCORED_AT = 256
"""Pixels of the longer side at which an image is read to be scored."""

LATERAL_POSITIONS = {"LL", "RL", "LATERAL"}

DAMAGE = (
    OSError,
    EOFError,
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom raises on damaged headers, beside its own exceptions."""


@dataclass(frozen=True, slots=True)
class View:
    """What is known of an image's view.

    Attributes:
        name: ``frontal`` or ``lateral``.
        rule: What told it.
        score: How frontal it is; without bound where the image was not asked.
    """

    name: str
    rule: str
    score: float


BY_TABLE = {
    "frontal": View("frontal", "by the projections table", math.inf),
    "lateral": View("lateral", "by the projections table", -math.inf),
}
BY_HEADER = View("lateral", "by the DICOM header", -math.inf)


def views(
    files: Mapping[str, Path], table: Mapping[str, str], remember: Remember
) -> dict[str, View]:
    """The view of each image.

    Args:
        files: Each image's file, by the id its report gives it.
        table: Views by image key, where there is a table; see :func:`read_table`.
        remember: Keeps what was found out about files of one content.

    Raises:
        EvaluationSetError: An image cannot be decoded.
    """
    told = {image: BY_TABLE[table[key(image)]] for image in files if key(image) in table}
    asked = [image for image in files if image not in told]
    if asked:
        found = _ask([files[image] for image in asked], remember)
        for image, score, header in zip(asked, found["score"], found["header"], strict=True):
            told[image] = BY_HEADER if header else _by_image(float(score))
    return told


def _by_image(score: float) -> View:
    return View("frontal" if score >= FRONTAL else "lateral", "by the image", score)


def _ask(paths: Sequence[Path], remember: Remember) -> dict[str, NDArray[Any]]:
    """Each file's score, float64 ``[N]``, and whether its header says lateral, uint8 ``[N]``."""
    content = "\n".join(
        f"{digest} {path.suffix.lower()}"
        for digest, path in zip(digests(paths, SCORED_AT), paths, strict=True)
    )

    def compute() -> dict[str, NDArray[Any]]:
        with ThreadPoolExecutor() as pool:
            header = np.array(list(pool.map(_header_says_lateral, paths)), dtype=np.uint8)
            score = np.array(list(pool.map(_score, paths, header)), dtype=np.float64)
        return {"score": score, "header": header}

    files = hashlib.sha256(content.encode()).hexdigest()
    return remember({"what": "views of open_i", "scoring": SCORING, "files": files}, compute)


def _score(path: Path, header: int) -> float:
    return -math.inf if header else frontal_score(read_image(path, SCORED_AT))


def _header_says_lateral(path: Path) -> bool:
    """Whether a DICOM header says that an image is lateral.

    Only that is believed: in this collection's headers ViewPosition is PA or AP for 203 of
    630 lateral images, while LL, RL, LATERAL, or rows that run from front to back or from back
    to front (PatientOrientation), stand in the header of no frontal one (673).
    """
    if path.suffix.lower() != ".dcm":
        return False
    from pydicom import dcmread
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        with settled_warnings():
            header = dcmread(
                path, stop_before_pixels=True, specific_tags=["ViewPosition", "PatientOrientation"]
            )
            position = str(header.get("ViewPosition") or "")
            orientation = header.get("PatientOrientation") or [""]
            rows = orientation if isinstance(orientation, str) else str(orientation[0])
    except (*DAMAGE, BytesLengthException, InvalidDicomError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EvaluationSetError(
            f"image {path}: its DICOM header cannot be read: {reason}"
        ) from error
    return bool(LATERAL_POSITIONS & set(position.upper().split())) or rows[:1] in {"A", "P"}


def read_table(root: Path, images: Sequence[str]) -> dict[str, str]:
    """The projections table, where there is one: ``frontal`` or ``lateral`` by image key.

    Args:
        root: The collection's folder.
        images: The ids of the images that the reports name.

    Raises:
        EvaluationSetError: The table cannot be read, contradicts itself, or names none of
            the images.
    """
    path = root / TABLE
    table: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            for row in rows:
                where = f"projections table {path}, line {rows.line_num}"
                if rows.line_num == 1:
                    _check_columns(row, where)
                elif row:
                    _add(table, row, where)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise EvaluationSetError(
            f"projections table {path} cannot be read: {error.strerror}"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise EvaluationSetError(f"projections table {path} is no CSV file: {error}") from error
    if images and not any(key(image) in table for image in images):
        raise EvaluationSetError(
            f"projections table {path} names none of the images of the reports, such as"
            f" {images[0]}; its rows are such as 1,1_IM-0001-4001.dcm.png,Frontal"
        )
    return table


def _check_columns(row: Sequence[str], where: str) -> None:
    if tuple(row) != COLUMNS:
        raise EvaluationSetError(
            f"{where}: the columns are {','.join(row)!r}; allowed are {','.join(COLUMNS)!r}"
        )


def _add(table: dict[str, str], row: Sequence[str], where: str) -> None:
    if len(row) != len(COLUMNS):
        raise EvaluationSetError(f"{where}: {len(row)} fields; {len(COLUMNS)} are needed")
    study, name, projection = (field.strip() for field in row)
    view = projection.lower()
    if view not in VIEWS:
        raise EvaluationSetError(
            f"{where}: projection is {projection!r}; allowed are Frontal, Lateral"
        )
    stem, dot, suffix = name.rpartition(".")
    image = key(stem if f"{dot}{suffix.lower()}" in SUFFIXES else name)
    if image.partition("_")[0] != study:
        raise EvaluationSetError(f"{where}: {name!r} is no image of study {study!r}")
    if table.setdefault(image, view) != view:
        raise EvaluationSetError(
            f"{where}: {name!r} is {view}, and {table[image]} in a line above; keep one of them"
        )
