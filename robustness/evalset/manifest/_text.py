"""Strict readers of tables in text files: CSV, TSV and JSON Lines."""

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
"""Maximum length of a line in bytes: a thousand times the longest report."""

UTF16 = (b"\xff\xfe", b"\xfe\xff")
BOM = b"\xef\xbb\xbf"


def read_csv(path: Path, separator: str, *, gzipped: bool) -> Table:
    """Read a table whose first line is the header, quoted as in RFC 4180.

    Raises:
        EvaluationSetError: The file cannot be read, is not UTF-8 or has no header, or a row has
            another number of cells than the header, or unbalanced quotes.
    """
    records: list[Record] = []
    header: list[str] = []
    for item, cells in _csv_rows(path, separator, gzipped=gzipped):
        if not header:
            header = _header(path, cells)
            continue
        if len(cells) != len(header):
            raise EvaluationSetError(
                f"{path}, {item} has {len(cells)} cells, but the header has {len(header)};"
                " quote cells that contain a separator"
            )
        records.append(Record(item, dict(zip(header, cells, strict=True))))
    if not header:
        raise EvaluationSetError(f"{path} is empty; its first line must name the columns")
    return Table(header, records)


def _csv_rows(path: Path, separator: str, *, gzipped: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield the name (number and first line) and the cells of each row; row 0 is the header."""
    rows = csv.reader(_lines(path, gzipped=gzipped), delimiter=separator, strict=True)
    row = line = 0
    while True:
        line = rows.line_num + 1
        try:
            cells = next(rows, None)
        except csv.Error as error:
            # The rest of the message is advice for callers of the library.
            reason = str(error).partition(" - ")[0]
            raise EvaluationSetError(
                f"{path}, row {row} (line {line}) is malformed: {reason}; quote a cell that"
                ' contains a separator, a line break or a quote, and double its quotes ("")'
            ) from error
        if cells is None:
            return
        if cells:
            yield f"row {row} (line {line})", cells
            row += 1


def _header(path: Path, names: list[str]) -> list[str]:
    duplicates = [name for name in names if name and names.count(name) > 1]
    if duplicates:
        raise EvaluationSetError(
            f"{path}: duplicate column {duplicates[0]!r} in the header; rename one"
        )
    if len(names) == 1:
        other = next((s for s in ",;\t|" if s in names[0]), None)
        hint = f"; the separator seems to be {other!r}" if other else ""
        raise EvaluationSetError(
            f"{path}: the header has one column, {names[0][:80]!r}{hint}; a .csv file is separated"
            " by ',' and a .tsv file by tabs"
        )
    # Spreadsheets write columns without a name; the index makes their names unique.
    return [name or f"column {i}" for i, name in enumerate(names, start=1)]


def read_json_lines(path: Path, *, gzipped: bool) -> Table:
    """Read a table of one JSON object per line; its columns are the keys of all lines.

    Raises:
        EvaluationSetError: The file cannot be read, is not UTF-8 or is empty, or a line is not one
            JSON object.
    """
    records: list[Record] = []
    columns: dict[str, None] = {}
    for line, content in enumerate(_lines(path, gzipped=gzipped), start=1):
        if not content.strip():
            continue
        item = f"row {len(records) + 1} (line {line})"
        records.append(Record(item, parse_object(f"{path}, {item}", content)))
        columns |= dict.fromkeys(records[-1].cells)
    if not records:
        raise EvaluationSetError(f"{path} is empty; write one JSON object per line")
    return Table(list(columns), records)


def parse_object(where: str, content: str) -> dict[str, Any]:
    """Parse a JSON object; reject extensions such as NaN, and duplicate keys.

    Raises:
        EvaluationSetError: The text is not such an object.
    """
    try:
        parsed = json.loads(
            content, parse_constant=_reject_constant, object_pairs_hook=_reject_duplicate_keys
        )
    except (ValueError, RecursionError) as error:
        raise EvaluationSetError(f"{where} is not a JSON object: {error}") from error
    if not isinstance(parsed, dict):
        raise EvaluationSetError(
            f"{where} is a JSON {type(parsed).__name__}, not an object such as"
            ' {"image": "1.png", "report": "Clear lungs."}'
        )
    return parsed


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON; write null for a missing value")


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parsed = dict(pairs)
    if len(parsed) != len(pairs):
        raise ValueError("duplicate key")
    return parsed


def _lines(path: Path, *, gzipped: bool) -> Iterator[str]:
    """Yield the lines of a UTF-8 file, with their line ends."""
    try:
        with gzip.open(path, "rb") if gzipped else path.open("rb") as file:
            number, size = 1, 0
            while line := file.readline(MAX_LINE):
                size += len(line)
                if size > MAX_TEXT or number > MAX_ROWS:
                    raise EvaluationSetError(
                        f"{path} has more than {MAX_ROWS:,} lines or {MAX_TEXT:,} bytes of text;"
                        " split it"
                    )
                yield _decode(path, number, line.removeprefix(BOM) if number == 1 else line)
                number += 1
    except (OSError, EOFError, zlib.error) as error:
        raise EvaluationSetError(f"{path} cannot be read: {error}") from error


def _decode(path: Path, number: int, line: bytes) -> str:
    where = f"{path}, line {number}"
    if number == 1 and line.startswith(UTF16):
        raise EvaluationSetError(f"{path} is UTF-16; save it as UTF-8 (in Excel: CSV UTF-8)")
    if len(line) == MAX_LINE:
        raise EvaluationSetError(f"{where} is longer than {MAX_LINE:,} bytes")
    if b"\0" in line:
        raise EvaluationSetError(f"{where} contains a NUL character; save the file as UTF-8 text")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise EvaluationSetError(
            f"{where}: byte 0x{line[error.start]:02x} is not UTF-8; save the file as UTF-8, or"
            f" convert it: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > utf8-{path.name}"
        ) from error
