"""Views of images (frontal or lateral): from a table, the DICOM header or the image."""

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
from robustness.evalset.images.decoder_warnings import decoder_warning_filters
from robustness.evalset.open_i._layout import SUFFIXES, key

TABLE = "indiana_projections.csv"
COLUMNS = ("uid", "filename", "projection")
VIEWS = ("frontal", "lateral")

SCORED_SIDE = 256
"""Length of the longer side, in pixels, of an image that is scored."""

LATERAL_POSITIONS = {"LL", "RL", "LATERAL"}

DAMAGED_HEADER = (
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
"""Exceptions of pydicom for damaged headers, in addition to its own."""


@dataclass(frozen=True, slots=True)
class View:
    """The view of an image.

    Attributes:
        name: ``frontal`` or ``lateral``.
        rule: The source of the view.
        score: Score of frontal views; infinite if the image was not scored.
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
    """Return the view of each image, by its id in the report.

    The views of ``table`` are by image key (see :func:`read_table`). The others are cached by
    the content of the files.

    Raises:
        EvaluationSetError: An image cannot be decoded.
    """
    view_of = {image: BY_TABLE[table[key(image)]] for image in files if key(image) in table}
    unlisted = [image for image in files if image not in view_of]
    if unlisted:
        scored = _score_files([files[image] for image in unlisted], remember)
        for image, score, header in zip(unlisted, scored["score"], scored["header"], strict=True):
            view_of[image] = BY_HEADER if header else _view_by_score(float(score))
    return view_of


def _view_by_score(score: float) -> View:
    return View("frontal" if score >= FRONTAL else "lateral", "by the image", score)


def _score_files(paths: Sequence[Path], remember: Remember) -> dict[str, NDArray[Any]]:
    """Return ``score``, float64 ``[N]``, and ``header``, uint8 ``[N]``, 1 if it is lateral."""
    content = "\n".join(
        f"{digest} {path.suffix.lower()}"
        for digest, path in zip(digests(paths, SCORED_SIDE), paths, strict=True)
    )

    def compute() -> dict[str, NDArray[Any]]:
        with ThreadPoolExecutor() as pool:
            header = np.array(list(pool.map(_has_lateral_header, paths)), dtype=np.uint8)
            score = np.array(list(pool.map(_score, paths, header)), dtype=np.float64)
        return {"score": score, "header": header}

    files = hashlib.sha256(content.encode()).hexdigest()
    return remember({"what": "views of open_i", "scoring": SCORING, "files": files}, compute)


def _score(path: Path, header: int) -> float:
    return -math.inf if header else frontal_score(read_image(path, SCORED_SIDE))


def _has_lateral_header(path: Path) -> bool:
    """Return True if the DICOM header states a lateral view.

    A frontal view in a header is ignored: in this collection, ViewPosition is PA or AP for 203 of
    630 lateral images. None of the 673 frontal images has LL, RL or LATERAL, or rows in the
    anterior-posterior direction (PatientOrientation), in its header.
    """
    if path.suffix.lower() != ".dcm":
        return False
    from pydicom import dcmread
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        with decoder_warning_filters():
            header = dcmread(
                path, stop_before_pixels=True, specific_tags=["ViewPosition", "PatientOrientation"]
            )
            position = str(header.get("ViewPosition") or "")
            orientation = header.get("PatientOrientation") or [""]
            rows = orientation if isinstance(orientation, str) else str(orientation[0])
    except (*DAMAGED_HEADER, BytesLengthException, InvalidDicomError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EvaluationSetError(
            f"image {path}: its DICOM header cannot be read: {reason}"
        ) from error
    return bool(LATERAL_POSITIONS & set(position.upper().split())) or rows[:1] in {"A", "P"}


def read_table(root: Path, images: Sequence[str]) -> dict[str, str]:
    """Read the projections table: view by image key, empty if there is no table.

    Raises:
        EvaluationSetError: The table cannot be read, contradicts itself, or contains none of the
            images.
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
        raise EvaluationSetError(f"projections table {path} is not valid CSV: {error}") from error
    if images and not any(key(image) in table for image in images):
        raise EvaluationSetError(
            f"projections table {path} contains none of the images of the reports, such as"
            f" {images[0]}; a valid row is 1,1_IM-0001-4001.dcm.png,Frontal"
        )
    return table


def _check_columns(row: Sequence[str], where: str) -> None:
    if tuple(row) != COLUMNS:
        raise EvaluationSetError(
            f"{where}: the columns are {','.join(row)!r}; allowed are {','.join(COLUMNS)!r}"
        )


def _add(table: dict[str, str], row: Sequence[str], where: str) -> None:
    if len(row) != len(COLUMNS):
        raise EvaluationSetError(f"{where}: {len(row)} fields; {len(COLUMNS)} are required")
    study, name, projection = (field.strip() for field in row)
    view = projection.lower()
    if view not in VIEWS:
        raise EvaluationSetError(
            f"{where}: projection is {projection!r}; allowed are Frontal, Lateral"
        )
    stem, dot, suffix = name.rpartition(".")
    image = key(stem if f"{dot}{suffix.lower()}" in SUFFIXES else name)
    if image.partition("_")[0] != study:
        raise EvaluationSetError(f"{where}: {name!r} is not an image of study {study!r}")
    if table.setdefault(image, view) != view:
        raise EvaluationSetError(
            f"{where}: {name!r} is {view}, but {table[image]} in an earlier line; remove one of"
            " them"
        )
