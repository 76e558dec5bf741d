"""The tables of MIMIC-CXR-JPG: splits, metadata of images, labels of studies.

Tables are read row by row. Of the metadata and the labels, only the rows of requested images
and studies stay in memory.
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

from robustness._util.text import counted
from robustness.errors import EvaluationSetError

SPLITS = ("test", "validate", "train")

LABELS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum",
    "Fracture", "Lung Lesion", "Lung Opacity", "No Finding", "Pleural Effusion",
    "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
"""CheXpert's labels, as named in the table."""

MAX_LINE_BYTES = 65_536
"""Maximum length of a table's line in bytes; a line of the collection has about 300."""

_VALUES = {"": None, "1": 1, "1.0": 1, "0": 0, "0.0": 0, "-1": -1, "-1.0": -1}
_NUMBER = re.compile(r"[1-9][0-9]{7}")
_DICOM_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,127}")
_CLOCK = re.compile(r"[0-9]{1,16}(\.[0-9]{0,16})?")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the split table.

    Attributes:
        where: The table and the line, for error messages.
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
    """Metadata of an image.

    Attributes:
        view: The ``ViewPosition``, such as ``PA``; empty if the table does not state it.
        taken: ``StudyDate`` and ``StudyTime`` as numbers, infinite if missing.
    """

    view: str
    taken: tuple[float, float]


def find_table(root: Path, name: str) -> Path | None:
    """Return the path of a table of the collection, such as ``split``; None if missing.

    PhysioNet's name is ``mimic-cxr-2.0.0-split.csv.gz``. The newest version is used, and its
    compressed file before an uncompressed one.
    """
    pattern = re.compile(rf"mimic-cxr-(\d+)\.(\d+)\.(\d+)-{name}\.csv(\.gz)?")
    result = [
        (tuple(map(int, match.groups()[:3])), match[4] is not None, path)
        for path in root.iterdir()
        if (match := pattern.fullmatch(path.name)) and path.is_file()
    ]
    return max(result)[2] if result else None


def read_split(path: Path, split: str) -> dict[str, Row]:
    """Read the images of one of :data:`SPLITS`, or of ``all``, by ``dicom_id``.

    Raises:
        EvaluationSetError: The table is damaged, an id is malformed or a duplicate, a split has
            an unknown name, a study has two patients, or the split has no image.
    """
    lines: dict[str, int] = {}
    patients: dict[str, str] = {}
    rows: dict[str, Row] = {}
    for line, (image, study, subject, image_split) in _rows(
        path, ("dicom_id", "study_id", "subject_id", "split")
    ):
        where = f"{path}, line {line}"
        if image_split not in SPLITS:
            raise EvaluationSetError(
                f"{where}: split is {_quote(image_split)}; allowed are {', '.join(SPLITS)}"
            )
        if lines.setdefault(image, line) != line:
            raise EvaluationSetError(
                f"{where}: duplicate dicom_id {_quote(image)}, first in line {lines[image]};"
                " an image has one row"
            )
        if split in {image_split, "all"}:
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
            f"{row.where}: invalid dicom_id {_quote(row.image)};"
            " allowed are up to 128 letters, digits, '-' and '_'"
        )
    for column, value in (("study_id", row.study), ("subject_id", row.subject)):
        if not _NUMBER.fullmatch(value):
            raise EvaluationSetError(
                f"{row.where}: {column} is {_quote(value)}; it must be a number of eight digits"
            )
    return row


def read_metadata(path: Path, rows: Mapping[str, Row]) -> dict[str, Metadata]:
    """Read the view and the time of the requested images, by ``dicom_id``.

    Raises:
        EvaluationSetError: The table is damaged, or an image is missing in it, has two rows, or
            is in another study than in the split table.
    """
    result: dict[str, Metadata] = {}
    columns = ("dicom_id", "study_id", "subject_id", "ViewPosition", "StudyDate", "StudyTime")
    for line, (image, study, subject, view, date, time) in _rows(path, columns):
        row = rows.get(image)
        if row is None:
            continue
        where = f"{path}, line {line}"
        if image in result:
            raise EvaluationSetError(f"{where}: duplicate dicom_id {image!r}; an image has one row")
        if (study, subject) != (row.study, row.subject):
            raise EvaluationSetError(
                f"{where}: image {image} is of study {_quote(study)}, subject {_quote(subject)};"
                f" {row.where} has study {row.study}, subject {row.subject}"
            )
        taken = (_clock(date, where, "StudyDate"), _clock(time, where, "StudyTime"))
        result[image] = Metadata(view.strip(), taken)
    for image, row in rows.items():
        if image not in result:
            raise EvaluationSetError(
                f"{row.where}: image {image} has no row in {path}; use tables of one release"
            )
    return result


def _clock(value: str, where: str, column: str) -> float:
    # Times have no leading zeros in the table, so they are compared as numbers.
    if not value.strip():
        return float("inf")
    if not _CLOCK.fullmatch(value):
        raise EvaluationSetError(f"{where}: {column} is {_quote(value)}, which is not a number")
    return float(value)


def read_labels(
    path: Path, subjects: Mapping[str, str], *, uncertain: bool
) -> dict[str, frozenset[str]]:
    """Read CheXpert's positive labels of the requested studies, by study.

    With ``uncertain``, an uncertain mention (-1.0) counts as positive.

    Raises:
        EvaluationSetError: The table is damaged, a value is not 1.0, 0.0, -1.0 or empty, or a
            study has two rows or another subject than in the split table.
    """
    present = (1, -1) if uncertain else (1,)
    result: dict[str, frozenset[str]] = {}
    for line, (study, subject, *values) in _rows(path, ("study_id", "subject_id", *LABELS)):
        if study not in subjects:
            continue
        where = f"{path}, line {line}"
        if study in result:
            raise EvaluationSetError(f"{where}: duplicate study {study}; a study has one row")
        if subject != subjects[study]:
            raise EvaluationSetError(
                f"{where}: study {study} is of subject {_quote(subject)};"
                f" the split table has {subjects[study]}"
            )
        for label, value in zip(LABELS, values, strict=True):
            if value not in _VALUES:
                raise EvaluationSetError(
                    f"{where}: {label} is {_quote(value)}; allowed are 1.0, 0.0, -1.0 and an"
                    " empty cell"
                )
        result[study] = frozenset(
            label for label, value in zip(LABELS, values, strict=True) if _VALUES[value] in present
        )
    return result


def _rows(path: Path, columns: Collection[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number (1 is the header) and the values of the columns of each row."""
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
            f"{path} cannot be read: {error}; fetch it again and verify it with SHA256SUMS.txt"
        ) from error
    except csv.Error as error:
        raise EvaluationSetError(f"{path}, line {reader.line_num}: invalid CSV: {error}") from error


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _lines(path: Path, file: IO[bytes]) -> Iterator[str]:
    """Yield the lines of a file; limit their length to protect the memory."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        if len(line) == MAX_LINE_BYTES:
            raise EvaluationSetError(
                f"{path}, line {number}: longer than {MAX_LINE_BYTES} bytes; this is not a table"
            )
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise EvaluationSetError(f"{path}, line {number}: not UTF-8: {error.reason}") from error


def _position(path: Path, header: list[str], column: str) -> int:
    if header.count(column) != 1:
        named = ", ".join(header[:20]) or "nothing"
        raise EvaluationSetError(
            f"{path}, line 1: column {column} must occur once; the header is {_quote(named)}"
        )
    return header.index(column)


def _quote(value: str) -> str:
    """Quote a value for an error message, in one line and at most 300 characters."""
    return repr(value if len(value) <= 300 else f"{value[:300]}...")  # noqa: PLR2004
