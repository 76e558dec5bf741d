"""A table of images and reports: CSV, TSV, JSON Lines or Parquet, told by the file's name.

Columns, by their names in any case (an option such as ``findings=COLUMN`` names another):

- ``image``: the file, relative to the table's folder or that of the option ``root``;
- ``findings``, ``impression``, ``indication``, ``comparison``: the report's sections, or
  ``report``: the whole of it, read where a row has neither findings nor an impression;
- ``study`` (default: the image), ``patient`` (default: the study), ``view``;
- ``labels``: findings, as a list or with ``|`` between them. ``none`` or ``No Finding``, and
  an empty list, say that there is none; an empty cell says nothing.

Other columns are not read; the set names them, and what they seem to be meant for. Rows
without a report, and rows with every cell empty, are left out and counted; every other fault
is an error that names the row. The rows are held in memory, the images are not. Text is UTF-8,
with a byte order mark or without.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from robustness.errors import EvaluationSetError, UsageError
from robustness.evalset import _cells, _spec
from robustness.evalset._base import EvaluationSet, Exclusion, Remember, forget
from robustness.evalset._rows import EMPTY_ROW, Row, build, picture_in, see_installed
from robustness.evalset.manifest._table import Table
from robustness.evalset.manifest._text import read_csv, read_json_lines

KIND = "manifest"
OPTIONS = {"side": _spec.SIDE, "root": "the folder the images lie in"} | _cells.COLUMNS

TEXT = {".csv": ",", ".tsv": "\t", ".jsonl": None, ".ndjson": None}
"""What text files are separated by; None where they are JSON Lines."""


def check(rest: str) -> None:
    """Sees that a manifest and its folder are there, and what reads it; reads nothing.

    Raises:
        UsageError: The specification is malformed, a file or folder is missing, the file's
            name does not tell what it holds, or pyarrow is not installed.
    """
    place, options = _spec.split(KIND, rest, OPTIONS)
    _spec.side(KIND, options)
    path = _spec.path(KIND, place)
    spec = f"evaluation set {f'{KIND}:{place}'!r}"
    suffix = _suffix(path)
    if path.is_dir():
        raise UsageError(f"{spec}: {path} is a folder; name the table in it, such as a .csv file")
    if suffix not in {*TEXT, ".parquet"} or (suffix == ".parquet" and _zipped(path)):
        raise UsageError(
            f"{spec}: the name of {path} does not tell what it holds; allowed are"
            f" {', '.join(TEXT)}, each with .gz too, and .parquet"
        )
    if not path.is_file():
        raise UsageError(f"{spec}: no file {path}")
    if suffix == ".parquet":
        see_installed(f"{KIND}:*.parquet", ["pyarrow"], "parquet")
    _spec.folder(KIND, str(_root(path, options)), ())


def load(rest: str, *, remember: Remember = forget) -> EvaluationSet:  # noqa: ARG001
    """Reads a manifest; see the module's text for its columns.

    Args:
        rest: ``FILE``, then options: ``FILE,root=DIR,side=native,report=COLUMN``.
        remember: Not needed: nothing here is slow but reading the images.

    Raises:
        UsageError: As :func:`check`.
        EvaluationSetError: The table or a row of it cannot be used; named by its number,
            counted from 1 after the header, and its line.
    """
    check(rest)
    place, options = _spec.split(KIND, rest, OPTIONS)
    path = Path(place).expanduser()
    table = _read(path, options)
    columns = _cells.find_columns(str(path), table.columns, options, ("image",))
    _cells.see_report(str(path), columns, table.columns)
    rows = _rows(path, table, columns, _root(path, options))
    unread = _cells.unread(table.columns, columns)
    return build(f"{KIND}:{rest}", rows, _spec.side(KIND, options), unread)


def _rows(
    path: Path, table: Table, columns: dict[str, str], root: Path
) -> Iterator[Row | Exclusion]:
    if not table.records:
        raise EvaluationSetError(f"{path} has no rows; write one for each image")
    for record in table.records:
        where = f"{path}, {record.item}"
        cells = {field: record.cells.get(column) for field, column in columns.items()}
        if _cells.all_empty(cells):
            yield Exclusion(record.item, EMPTY_ROW)
            continue
        image = _cells.text(where, "image", cells["image"])
        yield Row(where, image, picture_in(root, image, where), cells)


def _read(path: Path, options: dict[str, str]) -> Table:
    suffix = _suffix(path)
    if suffix == ".parquet":
        from robustness.evalset.manifest._parquet import read_parquet

        return read_parquet(path, {options.get(field, field) for field in _cells.FIELDS})
    separator = TEXT[suffix]
    if separator is None:
        return read_json_lines(path, zipped=_zipped(path))
    return read_csv(path, separator, zipped=_zipped(path))


def _zipped(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _suffix(path: Path) -> str:
    return (path.with_suffix("") if _zipped(path) else path).suffix.lower()


def _root(path: Path, options: dict[str, str]) -> Path:
    return Path(options["root"]).expanduser() if "root" in options else path.parent
