"""The tables of MIMIC-CXR-JPG: splits, metadata of the images, labels of the studies.

Tables are read row by row; of the metadata and the labels only the rows of the images and
studies that are asked for are kept.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from robustness.errors import EvaluationSetError
from robustness.wording import counted

SPLITS = ("test", "validate", "train")

LABELS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum",
    "Fracture", "Lung Lesion", "Lung Opacity", "No Finding", "Pleural Effusion",
    "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
"""What CheXpert labels in a report, as the table names it."""

LONGEST_LINE = 65_536
"""Bytes of a table's line at most; a line of the collection has about 300."""

_VALUES = {"": None, "1": 1, "1.0": 1, "0": 0, "0.0": 0, "-1": -1, "-1.0": -1}
_NUMBER = re.compile(r"[1-9][0-9]{7}")
_DICOM_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,127}")
_CLOCK = re.compile(r"[0-9]{1,16}(\.[0-9]{0,16})?")


@dataclass(frozen=True, slots=True)
class Row:
    """An image of the split table.

    Attributes:
        where: The table and the line it stands in; begins an error.
        image: The ``dicom_id``.
        study: The ``study_id``, eight digits.
        subject: The ``subject_id``, eight digits.
    """

    where: str
    image: str
    study: str
    subject: str


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the metadata table says of an image.

    Attributes:
        view: The ``ViewPosition``, such as ``PA``; empty where the table does not say.
        taken: ``StudyDate`` and ``StudyTime`` as numbers, infinite where they are missing.
    """

    view: str
    taken: tuple[float, float]


def find(root: Path, name: str) -> Path | None:
    """A table of the collection by what it holds, such as ``split``.

    PhysioNet's name is ``mimic-cxr-2.0.0-split.csv.gz``. The newest version is taken, and of
    it the packed file before an unpacked one.
    """
    pattern = re.compile(rf"mimic-cxr-(\d+)\.(\d+)\.(\d+)-{name}\.csv(\.gz)?")
    found = [
        (tuple(map(int, match.groups()[:3])), match[4] is not None, path)
        for path in root.iterdir()
        if (match := pattern.fullmatch(path.name)) and path.is_file()
    ]
    return max(found)[2] if found else None


def read_split(path: Path, split: str) -> dict[str, Row]:
    """The images of a split, by ``dicom_id``.

    Args:
        path: The split table.
        split: One of :data:`SPLITS`, or ``all``.

    Raises:
        EvaluationSetError: The table is damaged, an id is malformed or stands twice, a split
            has an unknown name, a study has two patients, or the split has no image.
    """
    lines: dict[str, int] = {}
    patients: dict[str, str] = {}
    rows: dict[str, Row] = {}
    for line, (image, study, subject, of) in _rows(
        path, ("dicom_id", "study_id", "subject_id", "split")
    ):
        where = f"{path}, line {line}"
        if of not in SPLITS:
            raise EvaluationSetError(
                f"{where}: split is {_short(of)}; allowed are {', '.join(SPLITS)}"
            )
        if lines.setdefault(image, line) != line:
            raise EvaluationSetError(
                f"{where}: dicom_id {_short(image)} stands twice, first in line {lines[image]};"
                " an image has one row"
            )
        if split in {of, "all"}:
            rows[image] = _checked(Row(where, image, study, subject))
            if patients.setdefault(study, subject) != subject:
                raise EvaluationSetError(
                    f"{where}: study {study} is of subject {subject}, in an earlier row of"
                    f" subject {patients[study]}; a study has one subject"
                )
    if not rows:
        raise EvaluationSetError(f"{path} has no image of split {split}; name another split")
    return rows


def _checked(row: Row) -> Row:
    if not _DICOM_ID.fullmatch(row.image):
        raise EvaluationSetError(
            f"{row.where}: dicom_id {_short(row.image)} is no id;"
            " letters, digits, '-' and '_' are allowed, up to 128"
        )
    for column, value in (("study_id", row.study), ("subject_id", row.subject)):
        if not _NUMBER.fullmatch(value):
            raise EvaluationSetError(
                f"{row.where}: {column} is {_short(value)}; it must be a number of eight digits"
            )
    return row


def read_metadata(path: Path, rows: Mapping[str, Row]) -> dict[str, Metadata]:
    """View and time of images, by ``dicom_id``.

    Args:
        path: The metadata table.
        rows: The images that are asked for.

    Raises:
        EvaluationSetError: The table is damaged, or an image is not in it, stands twice in
            it, or is in another study than the split table says.
    """
    found: dict[str, Metadata] = {}
    columns = ("dicom_id", "study_id", "subject_id", "ViewPosition", "StudyDate", "StudyTime")
    for line, (image, study, subject, view, date, time) in _rows(path, columns):
        row = rows.get(image)
        if row is None:
            continue
        where = f"{path}, line {line}"
        if image in found:
            raise EvaluationSetError(
                f"{where}: dicom_id {image!r} stands twice; an image has one row"
            )
        if (study, subject) != (row.study, row.subject):
            raise EvaluationSetError(
                f"{where}: image {image} is of study {_short(study)}, subject {_short(subject)};"
                f" {row.where} says study {row.study}, subject {row.subject}"
            )
        taken = (_clock(date, where, "StudyDate"), _clock(time, where, "StudyTime"))
        found[image] = Metadata(view.strip(), taken)
    for image, row in rows.items():
        if image not in found:
            raise EvaluationSetError(
                f"{row.where}: image {image} has no row in {path}; use tables of one release"
            )
    return found


def _clock(value: str, where: str, column: str) -> float:
    # The times lost their leading zeros, so they compare as numbers and not as text.
    if not value.strip():
        return float("inf")
    if not _CLOCK.fullmatch(value):
        raise EvaluationSetError(f"{where}: {column} is {_short(value)}, which is no number")
    return float(value)


def read_labels(
    path: Path, subjects: Mapping[str, str], *, uncertain: bool
) -> dict[str, frozenset[str]]:
    """What CheXpert found in the reports, by study.

    Args:
        path: The CheXpert table.
        subjects: The studies that are asked for, each with its subject.
        uncertain: Whether a mention that is uncertain (-1.0) counts as present.

    Raises:
        EvaluationSetError: The table is damaged, a value is none of 1.0, 0.0, -1.0 and empty,
            a study stands twice or has another subject than the split table says.
    """
    present = (1, -1) if uncertain else (1,)
    found: dict[str, frozenset[str]] = {}
    for line, (study, subject, *values) in _rows(path, ("study_id", "subject_id", *LABELS)):
        if study not in subjects:
            continue
        where = f"{path}, line {line}"
        if study in found:
            raise EvaluationSetError(f"{where}: study {study} stands twice; a study has one row")
        if subject != subjects[study]:
            raise EvaluationSetError(
                f"{where}: study {study} is of subject {_short(subject)};"
                f" the split table says {subjects[study]}"
            )
        for label, value in zip(LABELS, values, strict=True):
            if value not in _VALUES:
                raise EvaluationSetError(
                    f"{where}: {label} is {_short(value)}; allowed are 1.0, 0.0, -1.0 and nothing"
                )
        found[study] = frozenset(
            label for label, value in zip(LABELS, values, strict=True) if _VALUES[value] in present
        )
    return found


def _rows(path: Path, columns: Collection[str]) -> Iterator[tuple[int, list[str]]]:
    """Each row's line number, from 1 for the header, and its values of the columns."""
    try:
        with _open(path) as file:
            reader = csv.reader(_lines(path, file), strict=True)
            header = next(reader, [])
            positions = [_position(path, header, column) for column in columns]
            for row in reader:
                if len(row) != len(header):
                    if not row:
                        continue
                    raise EvaluationSetError(
                        f"{path}, line {reader.line_num}: {counted(len(row), 'value')};"
                        f" the header names {counted(len(header), 'column')}"
                    )
                yield reader.line_num, [row[position] for position in positions]
    except (OSError, EOFError, zlib.error) as error:
        raise EvaluationSetError(
            f"{path} cannot be read: {error}; fetch it again (SHA256SUMS.txt tells if it is whole)"
        ) from error
    except csv.Error as error:
        raise EvaluationSetError(f"{path}, line {reader.line_num}: no CSV: {error}") from error


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _lines(path: Path, file: IO[bytes]) -> Iterator[str]:
    """The lines of a file, none of which may fill the memory."""
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE:
            raise EvaluationSetError(
                f"{path}, line {number}: longer than {LONGEST_LINE} bytes; this is no table"
            )
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise EvaluationSetError(
                f"{path}, line {number}: no UTF-8 text: {error.reason}"
            ) from error


def _position(path: Path, header: list[str], column: str) -> int:
    if header.count(column) != 1:
        named = ", ".join(header[:20]) or "nothing"
        raise EvaluationSetError(
            f"{path}, line 1: column {column} must be named once; the header names {_short(named)}"
        )
    return header.index(column)


def _short(value: str) -> str:
    """A value as an error shows it: in one line, and not all of a long one."""
    return repr(value if len(value) <= 300 else f"{value[:300]}...")  # noqa: PLR2004
