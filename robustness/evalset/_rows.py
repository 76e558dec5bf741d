"""Rows to pairs: the one kernel of the sets whose reports come as a table.

A row is an image with its report. Its study is the image and its patient the study, where
the row does not say. Rows without findings, impression and report are left out and counted;
every other fault is an error that names the row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from robustness.errors import EvaluationSetError, UsageError
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
from robustness.evalset.images.limits import MAX_BYTES

NO_REPORT = "no findings, no impression and no undivided report"
EMPTY_ROW = "row with every cell that is read empty"


@dataclass(frozen=True, slots=True)
class Picture:
    """Where an image's bytes are.

    Attributes:
        name: What an error calls it; two rows of one name are one image.
        read: Its bytes as they are stored; called from any thread.
    """

    name: str
    read: Callable[[], bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Row:
    """An image with what is said of it.

    Attributes:
        where: What names the row in an error, such as ``a.csv, row 7``.
        image_id: Unique within the set.
        picture: Its image.
        cells: What the row says, by field; see :data:`robustness.evalset._cells.FIELDS`.
    """

    where: str
    image_id: str
    picture: Picture
    cells: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Decoder:
    """Decodes the images of a set from their bytes; safe in any number of threads.

    Attributes:
        pictures: Each image's bytes, by image id.
        side: The longest side the images are kept at; None as they are.
    """

    pictures: Mapping[str, Picture]
    side: int | None

    def __call__(self, pair: Pair) -> Image:
        """The image of a pair, uint8 ``[height, width]``.

        Raises:
            EvaluationSetError: The image is missing, damaged, or not an image, or not the one
                that the set was loaded with.
        """
        picture = self.pictures[pair.image_id]
        content = picture.read()
        if _digest(content, self.side) != pair.digest:
            raise changed(picture.name)
        return decode_image(content, picture.name, self.side)


def build(
    spec: str, rows: Iterable[Row | Exclusion], side: int | None, unread: tuple[Unread, ...]
) -> EvaluationSet:
    """Makes an evaluation set of rows, in their order.

    Args:
        spec: The set's specification.
        rows: The rows, and what was left out before.
        side: The longest side the images are kept at; None as they are.
        unread: The columns that are not read.

    Raises:
        EvaluationSetError: A cell holds what it may not, an image stands twice, a study has
            two reports or patients, an image cannot be read, or no row has a report.
    """
    kept: list[tuple[Row, Report]] = []
    excluded: list[Exclusion] = []
    for row in rows:
        if isinstance(row, Exclusion):
            excluded.append(row)
            continue
        report = _cells.report(row.where, row.cells)
        if report.text(BODY):
            kept.append((row, report))
        else:
            excluded.append(Exclusion(row.image_id, NO_REPORT))
    _see_images_once([row for row, _ in kept])
    pictures = {row.image_id: row.picture for row, _ in kept}
    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(lambda own: _digest(own.read(), side), pictures.values()))
    pairs = _pairs(kept, digests)
    _see_studies_agree([row.where for row, _ in kept], pairs)
    return EvaluationSet(spec, tuple(pairs), Decoder(pictures, side), tuple(excluded), unread)


def _pairs(kept: Sequence[tuple[Row, Report]], digests: Iterable[str]) -> list[Pair]:
    said = [
        {f: _cells.text(row.where, f, row.cells.get(f)) for f in ("study", "patient", "view")}
        for row, _ in kept
    ]
    studies = {texts["study"] for texts in said}
    patients = {texts["patient"] for texts in said}
    pairs: list[Pair] = []
    for (row, report), texts, digest in zip(kept, said, digests, strict=True):
        study = texts["study"] or _apart("image", row.image_id, studies)
        pairs.append(
            Pair(
                image_id=row.image_id,
                study_id=study,
                patient_id=texts["patient"] or _apart("study", study, patients),
                view=texts["view"],
                report=report,
                digest=digest,
                labels=_cells.labels(row.where, row.cells.get("labels")),
            )
        )
    return pairs


def _apart(kind: str, name: str, taken: AbstractSet[str]) -> str:
    """A name that no row gives: image 7 without a study is not of the study "7"."""
    while name in taken:
        name = f"{kind} {name}"
    return name


def _digest(content: bytes, side: int | None) -> str:
    return digest_of(hashlib.sha256(content).hexdigest(), side)


def _see_images_once(rows: Iterable[Row]) -> None:
    first: dict[str, str] = {}
    for row in rows:
        for name in {row.image_id, row.picture.name}:
            if name in first:
                raise EvaluationSetError(
                    f"{row.where}: image {row.image_id!r} stands twice, first in {first[name]};"
                    " an image has one row"
                )
            first[name] = row.where


def _see_studies_agree(wheres: Iterable[str], pairs: Iterable[Pair]) -> None:
    """A study is one examination: of one patient, with one report."""
    first: dict[str, tuple[str, Pair]] = {}
    for where, pair in zip(wheres, pairs, strict=True):
        before, other = first.setdefault(pair.study_id, (where, pair))
        for what, same in (
            ("report", pair.report == other.report),
            ("patient", pair.patient_id == other.patient_id),
        ):
            if not same:
                raise EvaluationSetError(
                    f"{where}: study {pair.study_id!r} has another {what} than in {before}; a"
                    f" study has one {what}: correct it, or name the studies apart"
                )


# --- images in files -----------------------------------------------------------------


def picture_in(root: Path, name: str, where: str) -> Picture:
    """The image file that a row names.

    Args:
        root: The folder that it must lie in.
        name: Its path, relative to the folder or absolute.
        where: What names the row; begins an error.

    Raises:
        EvaluationSetError: No path is given, it leaves the folder, or no file is there.
    """
    if not name:
        raise EvaluationSetError(f"{where}: no image; every row that says something names one")
    try:
        path = inside(root, name, where)
    except EvaluationSetError as error:
        raise EvaluationSetError(f"{error}; the option root=DIR names another") from error
    try:
        resolved = path.resolve()
        there = resolved.is_file()
    except (OSError, RuntimeError) as error:
        raise EvaluationSetError(f"{where}: image {path} cannot be read: {error}") from error
    if not there:
        slash = "; write / between folders, not \\" if "\\" in name else ""
        is_folder = "is a folder" if path.is_dir() else "does not exist"
        raise EvaluationSetError(f"{where}: image {path} {is_folder}{slash}")
    return Picture(str(resolved), partial(_read_file, resolved, where))


def _read_file(path: Path, where: str) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise EvaluationSetError(
                f"{where}: image {path} is larger than {MAX_BYTES:,} bytes; no radiograph is"
            )
        return path.read_bytes()
    except OSError as error:
        raise EvaluationSetError(
            f"{where}: image {path} cannot be read: {error.strerror}"
        ) from error


# --- what a kind needs ---------------------------------------------------------------


def see_installed(kind: str, modules: Iterable[str], extra: str) -> None:
    """Sees that a kind's libraries are there, without importing them.

    Args:
        kind: The kind of evaluation set.
        modules: The libraries.
        extra: The optional part of this package that brings them.

    Raises:
        UsageError: One is missing.
    """
    for module in modules:
        spec = find_spec(module)
        if spec is None or spec.origin is None:  # a folder of that name is found as well
            raise UsageError(
                f"evaluation set {kind} needs {module}, which is not installed:"
                f" pip install 'robustness-gate[{extra}]'"
            )
