"""Table columns and cells: find columns by name, check and convert cell values."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping, Sequence

from robustness.errors import EvaluationSetError
from robustness.evalset._base import BODY, SECTIONS, Report, Unread

TEXTS = ("report", *SECTIONS)
FIELDS = ("image", *TEXTS, "study", "patient", "view", "labels")
"""The fields of a row; also the default names of their columns."""

COLUMNS = {field: f"the column of the {field}" for field in FIELDS}
"""The options that set column names, with their help texts."""

ALIASES = {
    "patient": "patientid patientnumber pid ptid mrn subject subjects subjectid person personid",
    "study": "studyid studies studyuid studyinstanceuid accession accessionid accessionnumber exam"
    " examid examination examinationid",
    "report": "reporttext text caption",
    "impression": "conclusion conclusions",
    "indication": "history clinicalhistory clinicalindication reasonforexam",
    "labels": "findinglabels",
    "view": "viewposition",
}
"""Common other names of columns, in lowercase letters and digits only."""

MIN_SIMILARITY = 0.8
"""Minimum difflib similarity of a misspelt name: two of six letters may be swapped."""

SEPARATOR = "|"
"""Separates the labels in a text cell, as in NIH ChestX-ray14."""

NO_FINDING = ("none", "no finding")
"""Label values, in any case, for a study without findings; an empty cell means not labelled."""

MISSING = ("nan", "<na>", "nat", "null")
"""Texts, in any case, that programs write for a missing value."""

NONE_ALLOWED = ("indication", "comparison")
"""Fields in which a report may contain ``None``; in others it is a missing value."""

MAX_EXACT_INTEGER = 2**53
"""Up to here a float64 represents every integer exactly."""


def find_columns(
    where: str, present: Sequence[str], options: Mapping[str, str], needed: tuple[str, ...]
) -> dict[str, str]:
    """Return the column of each field that has one, by name, ignoring case.

    Raises:
        EvaluationSetError: A needed or named column is missing or duplicated.
    """
    columns: dict[str, str] = {}
    for field in FIELDS:
        name = options.get(field, field)
        matches = [c for c in present if c == name] or [
            c for c in present if c.strip().casefold() == name.casefold()
        ]
        if len(matches) > 1:
            raise EvaluationSetError(
                f"{where}: {len(matches)} columns are named {name!r}; keep only one"
            )
        if matches:
            columns[field] = matches[0]
        elif field in options or field in needed:
            raise EvaluationSetError(f"{where}: no column {name!r}{_hint(field, name, present)}")
    return columns


def unread_columns(
    present: Sequence[str], columns: Mapping[str, str], elsewhere: Collection[str] = ()
) -> tuple[Unread, ...]:
    """Return the columns that are not read, each with the field it may be meant for.

    The fields in ``elsewhere`` do not come from a column.
    """
    missing = [field for field in FIELDS if field not in columns and field not in elsewhere]
    read = set(columns.values())
    others = [column for column in present if column not in read]
    return tuple(Unread(column, _similar_field(column, missing)) for column in others)


def _similar_field(column: str, missing: Sequence[str]) -> str:
    """Return the field a column name is an alias or a misspelling of, or an empty string."""
    plain = "".join(letter for letter in column.casefold() if letter.isalnum())
    # A name with another first letter is another word (medication); a name that contains a
    # whole field name means something more specific (patient age).
    candidates = [
        field
        for field in missing
        if field[0] == plain[:1] and (field not in plain or plain in {field, f"{field}s"})
    ]
    aliases = [field for field in missing if plain in ALIASES.get(field, "").split()]
    if not aliases:
        aliases = difflib.get_close_matches(plain, candidates, n=1, cutoff=MIN_SIMILARITY)
    return next(iter(aliases), "")


def require_report_column(where: str, columns: Mapping[str, str], present: Sequence[str]) -> None:
    """Check that at least one column has report text.

    Raises:
        EvaluationSetError: There is no report, findings or impression column.
    """
    fields = ("report", *BODY)
    if not set(fields) & columns.keys():
        similar = (
            (field, column) for column in present if (field := _similar_field(column, fields))
        )
        field, name = next(similar, ("report", "report"))
        raise EvaluationSetError(
            f"{where}: no column 'report', 'findings' or 'impression'{_hint(field, name, present)}"
        )


def _hint(field: str, name: str, present: Sequence[str]) -> str:
    """Return the present columns and the option that selects one, for an error message."""
    shown = ", ".join(repr(column[:40]) for column in present[:20]) or "none"
    more = f" and {len(present) - 20} more" if len(present) > 20 else ""  # noqa: PLR2004
    near = difflib.get_close_matches(name, present, n=1) or [
        column for column in present if name.casefold() in column.casefold()
    ]
    option = f"{field}={near[0] if near else 'COLUMN'}"
    return f"; the columns are {shown}{more}; select one with the option {option}"


def is_empty_row(cells: Mapping[str, object]) -> bool:
    """Return True if all cells are empty, as in rows that spreadsheets append."""
    return all(
        cell is None or (isinstance(cell, str) and not cell.strip()) for cell in cells.values()
    )


def text(where: str, field: str, value: object) -> str:
    """Return the stripped text of a cell; empty for an empty cell or NaN.

    The cells of ids may be integers.

    Raises:
        EvaluationSetError: The cell has another type, invalid text, or one of
            :data:`MISSING`.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if field not in {"image", "labels", *TEXTS}:
        # Tables store an integer column with missing values as floats.
        if isinstance(value, float) and value.is_integer() and abs(value) < MAX_EXACT_INTEGER:
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    if not isinstance(value, str):
        raise EvaluationSetError(
            f"{where}: {field} is {_short(value)}, of type {type(value).__name__}; write it as text"
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise EvaluationSetError(f"{where}: {field} contains an unpaired surrogate") from error
    if "\0" in value:
        raise EvaluationSetError(f"{where}: {field} contains a NUL character; remove it")
    value = value.strip()
    if value.casefold() in MISSING or (value == "None" and field not in {"labels", *NONE_ALLOWED}):
        raise EvaluationSetError(
            f"{where}: {field} is {value!r}, which stands for a missing value; leave it empty"
        )
    return value


def report(where: str, cells: Mapping[str, object]) -> Report:
    """Return the report of a row: by section, or undivided if it has no sections.

    Raises:
        EvaluationSetError: A cell is not valid text.
    """
    texts = {field: " ".join(text(where, field, cells.get(field)).split()) for field in TEXTS}
    undivided = texts.pop("report")
    divided = any(texts[section] for section in BODY)
    return Report(**texts, undivided="" if divided else undivided)


def labels(where: str, value: object) -> frozenset[str] | None:
    """Return the labels of a row; the empty set for no findings, None if not labelled.

    A cell is a list of texts, or one text with labels separated by ``|``.

    Raises:
        EvaluationSetError: The cell is neither, or has both labels and "none".
    """
    if isinstance(value, list):
        names = [text(where, "labels", name) for name in value]
    else:
        cell = text(where, "labels", value)
        if not cell:
            return None
        if ";" in cell:
            raise EvaluationSetError(
                f"{where}: labels {_short(cell)} contain ';'; separate labels with {SEPARATOR!r}"
            )
        if cell.startswith("[") and cell.endswith("]"):
            raise EvaluationSetError(
                f"{where}: labels {_short(cell)} are a list in a text cell; separate"
                f" labels with {SEPARATOR!r} and add nothing else"
            )
        names = [name.strip() for name in cell.split(SEPARATOR)]
    named = frozenset(name for name in names if name)
    findings = frozenset(name for name in named if name.casefold() not in NO_FINDING)
    if findings and findings != named:
        raise EvaluationSetError(
            f"{where}: labels {', '.join(sorted(named))[:80]!r} contain both findings and a value"
            " for none"
        )
    return findings


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."  # noqa: PLR2004
