"""Tables in text files: CSV, TSV and JSON Lines, read strictly."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from robustness.errors import EvaluationSetError
from robustness.evalset.manifest._table import MAX_ROWS, MAX_TEXT, Record, Table

MAX_LINE = 2**24
"""Bytes of a line at most: a thousand times the longest report."""

UTF16 = (b"\xff\xfe", b"\xfe\xff")
BOM = b"\xef\xbb\xbf"


def read_csv(path: Path, separator: str, *, zipped: bool) -> Table:
    """Reads a table whose first line names the columns; quoting as in RFC 4180.

    Args:
        path: The file.
        separator: What stands between cells.
        zipped: Whether the file is a gzip of the text.

    Raises:
        EvaluationSetError: The file cannot be read, is no UTF-8, has no header, or a row has
            other cells than the header, or quotes that do not match.
    """
    records: list[Record] = []
    header: list[str] = []
    for item, cells in _csv_rows(path, separator, zipped=zipped):
        if not header:
            header = _header(path, cells)
            continue
        if len(cells) != len(header):
            raise EvaluationSetError(
                f"{path}, {item} has {len(cells)} cells where the header has {len(header)};"
                " quote cells that hold a separator"
            )
        records.append(Record(item, dict(zip(header, cells, strict=True))))
    if not header:
        raise EvaluationSetError(f"{path} is empty; its first line names the columns")
    return Table(header, records)


def _csv_rows(path: Path, separator: str, *, zipped: bool) -> Iterator[tuple[str, list[str]]]:
    """The rows that are not blank, the header as row 0, each with its number and first line."""
    rows = csv.reader(_lines(path, zipped=zipped), delimiter=separator, strict=True)
    row = line = 0
    while True:
        line = rows.line_num + 1
        try:
            cells = next(rows, None)
        except csv.Error as error:
            # The library goes on to advise on how to call it.
            what = str(error).partition(" - ")[0]
            raise EvaluationSetError(
                f"{path}, row {row} (line {line}) is malformed: {what}; a cell that holds a"
                ' separator, a line break or a quote stands in quotes, its own quotes doubled ("")'
            ) from error
        if cells is None:
            return
        if cells:
            yield f"row {row} (line {line})", cells
            row += 1


def _header(path: Path, names: list[str]) -> list[str]:
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise EvaluationSetError(f"{path}: the header names column {twice[0]!r} twice")
    if len(names) == 1:
        other = next((s for s in ",;\t|" if s in names[0]), None)
        hint = f"; cells seem to be separated by {other!r}" if other else ""
        raise EvaluationSetError(
            f"{path}: the header has one column, {names[0][:80]!r}{hint}; a .csv file is separated"
            " by ',' and a .tsv file by tabs"
        )
    # Spreadsheets leave columns without a name; apart, they can be told from one another.
    return [name or f"column {i}" for i, name in enumerate(names, start=1)]


def read_json_lines(path: Path, *, zipped: bool) -> Table:
    """Reads a table of one JSON object a line, under the keys of all the lines.

    Args:
        path: The file.
        zipped: Whether the file is a gzip of the text.

    Raises:
        EvaluationSetError: The file cannot be read, is no UTF-8, is empty, or a line holds
            something else than one JSON object.
    """
    records: list[Record] = []
    columns: dict[str, None] = {}
    for line, content in enumerate(_lines(path, zipped=zipped), start=1):
        if not content.strip():
            continue
        item = f"row {len(records) + 1} (line {line})"
        records.append(Record(item, parse_object(f"{path}, {item}", content)))
        columns |= dict.fromkeys(records[-1].cells)
    if not records:
        raise EvaluationSetError(f"{path} is empty; write one JSON object a line")
    return Table(list(columns), records)


def parse_object(where: str, content: str) -> dict[str, Any]:
    """Reads a JSON object; nothing that JSON lacks, such as NaN, and no key twice.

    Args:
        where: What names it; begins an error.
        content: The text.

    Raises:
        EvaluationSetError: The text is something else.
    """
    try:
        found = json.loads(content, parse_constant=_no_constant, object_pairs_hook=_keys_once)
    except (ValueError, RecursionError) as error:
        raise EvaluationSetError(f"{where} is no JSON object: {error}") from error
    if not isinstance(found, dict):
        raise EvaluationSetError(
            f"{where} is a JSON {type(found).__name__}, not an object such as"
            ' {"image": "1.png", "report": "Clear lungs."}'
        )
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON; write null where there is no value")


def _keys_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _lines(path: Path, *, zipped: bool) -> Iterator[str]:
    """The lines of a UTF-8 file, with their ends."""
    try:
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
            number, size = 1, 0
            while line := file.readline(MAX_LINE):
                size += len(line)
                if size > MAX_TEXT or number > MAX_ROWS:
                    raise EvaluationSetError(
                        f"{path} has more than {MAX_ROWS:,} lines or {MAX_TEXT:,} bytes of text;"
                        " divide it"
                    )
                yield _decoded(path, number, line.removeprefix(BOM) if number == 1 else line)
                number += 1
    except (OSError, EOFError, zlib.error) as error:
        raise EvaluationSetError(f"{path} cannot be read: {error}") from error


def _decoded(path: Path, number: int, line: bytes) -> str:
    where = f"{path}, line {number}"
    if number == 1 and line.startswith(UTF16):
        raise EvaluationSetError(f"{path} is UTF-16; save it as UTF-8 (in Excel: CSV UTF-8)")
    if len(line) == MAX_LINE:
        raise EvaluationSetError(f"{where} is longer than {MAX_LINE:,} bytes")
    if b"\0" in line:
        raise EvaluationSetError(f"{where} holds a NUL character; save the file as UTF-8 text")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise EvaluationSetError(
            f"{where}: byte 0x{line[error.start]:02x} is not UTF-8; save the file as UTF-8, or"
            f" convert it: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > utf8-{path.name}"
        ) from error
