"""Build an evaluation set from table rows, shared by all table formats.

A row is one image with its report. If the study is missing, the image is its own study; if
the patient is missing, the study is its own patient. Rows without findings, impression and
report are excluded and counted; any other fault is an error that names the row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from robustness.errors import EvaluationSetError
from robustness.evalset import _cells
from robustness.evalset._base import (
    BODY,
    EvaluationSet,
    Exclusion,
    Pair,
    Report,
    Unread,
)
from robustness.evalset._files import changed, digest_of, inside
from robustness.evalset.images import Image
from robustness.evalset.images.decode import decode_image
from robustness.evalset.images.dicom import require_libraries
from robustness.evalset.images.limits import MAX_BYTES

NO_REPORT = "no findings, no impression and no undivided report"
EMPTY_ROW = "row with every cell that is read empty"


@dataclass(frozen=True, slots=True)
class ImageSource:
    """The source of the bytes of an image.

    Attributes:
        name: The name in error messages; equal names mean the same image.
        read: Returns the bytes as stored; must be thread-safe.
    """

    name: str
    read: Callable[[], bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Row:
    """A table row: one image with its data.

    Attributes:
        where: The location for error messages, such as ``a.csv, row 7``.
        image_id: Unique within the set.
        source: The source of the image.
        cells: The cells by field; see :data:`robustness.evalset._cells.FIELDS`.
    """

    where: str
    image_id: str
    source: ImageSource
    cells: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Decoder:
    """Thread-safe decoder of the images of a set; an error if an image changed.

    Attributes:
        sources: The source of each image, by image id.
        side: Maximum pixels of the longer side; None for the original size.
    """

    sources: Mapping[str, ImageSource]
    side: int | None

    def __call__(self, pair: Pair) -> Image:
        """Decode the image of a pair to uint8 ``[height, width]``.

        Raises:
            EvaluationSetError: The image is missing, damaged, not an image, or changed since
                the set was loaded.
        """
        source = self.sources[pair.image_id]
        content = source.read()
        if _digest(content, self.side) != pair.digest:
            raise changed(source.name)
        return decode_image(content, source.name, self.side)


def build(
    spec: str, rows: Iterable[Row | Exclusion], side: int | None, unread: tuple[Unread, ...]
) -> EvaluationSet:
    """Build an evaluation set from rows, in their order, and items that are already excluded.

    Raises:
        EvaluationSetError: A cell is invalid, an image is duplicated, a study has two reports
            or patients, an image cannot be read, or no row has a report.
    """
    included: list[tuple[Row, Report]] = []
    excluded: list[Exclusion] = []
    for row in rows:
        if isinstance(row, Exclusion):
            excluded.append(row)
            continue
        report = _cells.report(row.where, row.cells)
        if report.text(BODY):
            included.append((row, report))
        else:
            excluded.append(Exclusion(row.image_id, NO_REPORT))
    _check_unique_images([row for row, _ in included])
    sources = {row.image_id: row.source for row, _ in included}

    def digest(source: ImageSource) -> str:
        content = source.read()
        require_libraries(source.name, content)
        return _digest(content, side)

    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(digest, sources.values()))
    pairs = _pairs(included, digests)
    _check_studies([row.where for row, _ in included], pairs)
    return EvaluationSet(spec, tuple(pairs), Decoder(sources, side), tuple(excluded), unread)


def _pairs(rows: Sequence[tuple[Row, Report]], digests: Iterable[str]) -> list[Pair]:
    row_texts = [
        {f: _cells.text(row.where, f, row.cells.get(f)) for f in ("study", "patient", "view")}
        for row, _ in rows
    ]
    studies = {texts["study"] for texts in row_texts}
    patients = {texts["patient"] for texts in row_texts}
    pairs: list[Pair] = []
    for (row, report), texts, digest in zip(rows, row_texts, digests, strict=True):
        study = texts["study"] or _unused_name("image", row.image_id, studies)
        pairs.append(
            Pair(
                image_id=row.image_id,
                study_id=study,
                patient_id=texts["patient"] or _unused_name("study", study, patients),
                view=texts["view"],
                report=report,
                digest=digest,
                labels=_cells.labels(row.where, row.cells.get("labels")),
            )
        )
    return pairs


def _unused_name(kind: str, name: str, taken: AbstractSet[str]) -> str:
    """Return a name that is not taken: image 7 without a study must not join study "7"."""
    while name in taken:
        name = f"{kind} {name}"
    return name


def _digest(content: bytes, side: int | None) -> str:
    return digest_of(hashlib.sha256(content).hexdigest(), side)


def _check_unique_images(rows: Iterable[Row]) -> None:
    first: dict[str, str] = {}
    for row in rows:
        for name in {row.image_id, row.source.name}:
            if name in first:
                raise EvaluationSetError(
                    f"{row.where}: duplicate image {row.image_id!r}, first in {first[name]};"
                    " each image must have one row"
                )
            first[name] = row.where


def _check_studies(wheres: Iterable[str], pairs: Iterable[Pair]) -> None:
    """Check that each study has one patient and one report."""
    first: dict[str, tuple[str, Pair]] = {}
    for where, pair in zip(wheres, pairs, strict=True):
        first_where, other = first.setdefault(pair.study_id, (where, pair))
        for field_name, same in (
            ("report", pair.report == other.report),
            ("patient", pair.patient_id == other.patient_id),
        ):
            if not same:
                raise EvaluationSetError(
                    f"{where}: study {pair.study_id!r} has another {field_name} than in"
                    f" {first_where}; a study has one {field_name}: correct it, or use different"
                    " study ids"
                )


# --- image files ---------------------------------------------------------------------


def file_source(root: Path, name: str, where: str) -> ImageSource:
    """Return the source of the image file named in a row, which must be inside the folder.

    Raises:
        EvaluationSetError: The path is empty or outside the folder, or the file is missing.
    """
    if not name:
        raise EvaluationSetError(f"{where}: no image; every row that is not empty must name one")
    try:
        path = inside(root, name, where)
    except EvaluationSetError as error:
        raise EvaluationSetError(f"{error}; set another folder with the option root=DIR") from error
    try:
        resolved = path.resolve()
        exists = resolved.is_file()
    except (OSError, RuntimeError) as error:
        raise EvaluationSetError(f"{where}: image {path} cannot be read: {error}") from error
    if not exists:
        hint = "; write / between folders, not \\" if "\\" in name else ""
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise EvaluationSetError(f"{where}: image {path} {problem}{hint}")
    return ImageSource(str(resolved), partial(_read_file, resolved, where))


def _read_file(path: Path, where: str) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise EvaluationSetError(
                f"{where}: image {path} is larger than the limit of {MAX_BYTES:,} bytes"
            )
        return path.read_bytes()
    except OSError as error:
        raise EvaluationSetError(
            f"{where}: image {path} cannot be read: {error.strerror}"
        ) from error
