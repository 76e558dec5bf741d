"""What a table says of an image: its columns by their names, its cells by their types."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping, Sequence

from robustness.errors import EvaluationSetError
from robustness.evalset._base import BODY, SECTIONS, Report, Unread

TEXTS = ("report", *SECTIONS)
FIELDS = ("image", *TEXTS, "study", "patient", "view", "labels")
"""What a row can say, and the column that says it where no option names another."""

COLUMNS = {field: f"the column that holds the {field}" for field in FIELDS}
"""The options that name columns, each with what to tell a person of it."""

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
"""What other tables call a column, in small letters and digits alone."""

NEAR = 0.8
"""How alike a misspelt name is, by difflib: of six letters two may be swapped."""

SEPARATOR = "|"
"""Stands between the labels of a text cell, as in NIH ChestX-ray14."""

NOTHING_FOUND = ("none", "no finding")
"""A cell that says one of these, in any case, names no findings; an empty cell says nothing."""

MISSING = ("nan", "<na>", "nat", "null")
"""What programs write, in any case, where they mean an empty cell."""

NONE_SAID = ("indication", "comparison")
"""Where a report may well say ``None``; elsewhere a program said it of an empty cell."""

LARGEST_WHOLE = 2**53
"""Up to here a float64 tells every whole number from the next."""


def find_columns(
    where: str, present: Sequence[str], options: Mapping[str, str], needed: tuple[str, ...]
) -> dict[str, str]:
    """Finds the column of each field, by its name in any case.

    Args:
        where: What holds the columns; begins an error.
        present: The names of the columns.
        options: The columns that the specification names, by field.
        needed: The fields that must have a column.

    Returns:
        The column of each field that has one.

    Raises:
        EvaluationSetError: A column that is needed or named is missing, or stands twice.
    """
    found: dict[str, str] = {}
    for field in FIELDS:
        name = options.get(field, field)
        same = [c for c in present if c == name] or [
            c for c in present if c.strip().casefold() == name.casefold()
        ]
        if len(same) > 1:
            raise EvaluationSetError(
                f"{where}: {len(same)} columns are named {name!r}; leave one of them"
            )
        if same:
            found[field] = same[0]
        elif field in options or field in needed:
            raise EvaluationSetError(f"{where}: no column {name!r}{_hint(field, name, present)}")
    return found


def unread(
    present: Sequence[str], found: Mapping[str, str], elsewhere: Collection[str] = ()
) -> tuple[Unread, ...]:
    """The columns that are not read, each with what it may be meant for.

    Args:
        present: The names of the columns.
        found: The column of each field that has one.
        elsewhere: Fields that are read from elsewhere and need no column.
    """
    lacking = [field for field in FIELDS if field not in found and field not in elsewhere]
    read = set(found.values())
    others = [column for column in present if column not in read]
    return tuple(Unread(column, _meant(column, lacking)) for column in others)


def _meant(column: str, lacking: Sequence[str]) -> str:
    """The field that a column's name is an alias of or a misspelling; empty where of none."""
    plain = "".join(letter for letter in column.casefold() if letter.isalnum())
    # What begins otherwise is another word (medication), and what holds the whole of a name
    # says more than the name does (patient age).
    alike = [
        field
        for field in lacking
        if field[0] == plain[:1] and (field not in plain or plain in {field, f"{field}s"})
    ]
    known = [field for field in lacking if plain in ALIASES.get(field, "").split()]
    return next(iter(known or difflib.get_close_matches(plain, alike, n=1, cutoff=NEAR)), "")


def see_report(where: str, found: Mapping[str, str], present: Sequence[str]) -> None:
    """Sees that there is a column a report can be read from.

    Args:
        where: What holds the columns; begins an error.
        found: The column of each field that has one.
        present: The names of the columns.

    Raises:
        EvaluationSetError: There is neither report nor findings nor impression.
    """
    fields = ("report", *BODY)
    if not set(fields) & found.keys():
        meant = ((field, column) for column in present if (field := _meant(column, fields)))
        field, name = next(meant, ("report", "report"))
        raise EvaluationSetError(
            f"{where}: no column 'report', 'findings' or 'impression'{_hint(field, name, present)}"
        )


def _hint(field: str, name: str, present: Sequence[str]) -> str:
    """The columns there are, and how to say which is meant."""
    shown = ", ".join(repr(column[:40]) for column in present[:20]) or "none"
    more = f" and {len(present) - 20} more" if len(present) > 20 else ""  # noqa: PLR2004
    near = difflib.get_close_matches(name, present, n=1) or [
        column for column in present if name.casefold() in column.casefold()
    ]
    option = f"{field}={near[0] if near else 'COLUMN'}"
    return f"; there are {shown}{more}; name the column with the option {option}"


def all_empty(cells: Mapping[str, object]) -> bool:
    """Whether a row says nothing, as the rows that spreadsheets add at the end do."""
    return all(
        cell is None or (isinstance(cell, str) and not cell.strip()) for cell in cells.values()
    )


def text(where: str, field: str, value: object) -> str:
    """A cell's text, without space at its ends; empty where the cell is.

    Args:
        where: What names the row; begins an error.
        field: One of :data:`FIELDS`.
        value: The cell: text, None or NaN; a whole number too, where the cell is an id.

    Raises:
        EvaluationSetError: The cell holds something else, what is no text, or one of
            :data:`MISSING`.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if field not in {"image", "labels", *TEXTS}:
        # Tables store a column of ids with gaps as floats.
        if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST_WHOLE:
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
        raise EvaluationSetError(f"{where}: {field} is no text: half a character") from error
    if "\0" in value:
        raise EvaluationSetError(f"{where}: {field} holds a NUL character; take it out")
    value = value.strip()
    if value.casefold() in MISSING or (value == "None" and field not in {"labels", *NONE_SAID}):
        raise EvaluationSetError(
            f"{where}: {field} is {value!r}, as programs write what is missing; leave it empty"
        )
    return value


def report(where: str, cells: Mapping[str, object]) -> Report:
    """The report of a row: its sections, or the whole of it where it has none.

    Args:
        where: What names the row; begins an error.
        cells: The row's cells, by field.

    Raises:
        EvaluationSetError: A cell holds no text.
    """
    texts = {field: " ".join(text(where, field, cells.get(field)).split()) for field in TEXTS}
    undivided = texts.pop("report")
    divided = any(texts[section] for section in BODY)
    return Report(**texts, undivided="" if divided else undivided)


def labels(where: str, value: object) -> frozenset[str] | None:
    """The labels of a row; the empty set where it names none, None where it says nothing.

    Args:
        where: What names the row; begins an error.
        value: The cell: a list of texts, or one text with ``|`` between the labels.

    Raises:
        EvaluationSetError: The cell is neither, or names labels beside "none".
    """
    if isinstance(value, list):
        names = [text(where, "labels", name) for name in value]
    else:
        written = text(where, "labels", value)
        if not written:
            return None
        if ";" in written:
            raise EvaluationSetError(
                f"{where}: labels {_short(written)} hold ';'; write {SEPARATOR!r} between labels"
            )
        if written.startswith("[") and written.endswith("]"):
            raise EvaluationSetError(
                f"{where}: labels {_short(written)} are a list in a text cell; write"
                f" {SEPARATOR!r} between labels and nothing else"
            )
        names = [name.strip() for name in written.split(SEPARATOR)]
    named = frozenset(name for name in names if name)
    found = frozenset(name for name in named if name.casefold() not in NOTHING_FOUND)
    if found and found != named:
        raise EvaluationSetError(
            f"{where}: labels {', '.join(sorted(named))[:80]!r} name findings and none at once"
        )
    return found


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."  # noqa: PLR2004
