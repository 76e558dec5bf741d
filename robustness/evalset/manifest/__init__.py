"""Tables of images and reports: CSV, TSV, JSON Lines or Parquet, by the suffix of the file.

Columns, whose names are case-insensitive (an option such as ``findings=COLUMN`` selects another):

- ``image``: the file, relative to the table's folder or to the option ``root``;
- ``findings``, ``impression``, ``indication``, ``comparison``: the sections of the report, or
  ``report``: the undivided report, used if a row has neither findings nor an impression;
- ``study`` (default: the image), ``patient`` (default: the study), ``view``;
- ``labels``: findings, as a list or separated by ``|``. ``none``, ``No Finding`` and an empty
  list mean no finding; an empty cell means unknown.

Other columns are not read; the set lists them with the column that each may be meant for. Rows
without a report, and rows whose cells are all empty, are excluded and counted. Any other fault is
an error that names the row. Rows are in memory, images are not. Text is UTF-8, with or without a
byte order mark.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from robustness.errors import EvaluationSetError, UsageError
from robustness.evalset import _cells, _spec
from robustness.evalset._base import EvaluationSet, Exclusion, Remember, forget
from robustness.evalset._rows import EMPTY_ROW, Row, build, file_source
from robustness.evalset.manifest._table import Table
from robustness.evalset.manifest._text import read_csv, read_json_lines
from robustness.extras import require_installed

KIND = "manifest"
OPTIONS = {"side": _spec.SIDE, "root": "the folder of the images"} | _cells.COLUMNS

TEXT = {".csv": ",", ".tsv": "\t", ".jsonl": None, ".ndjson": None}
"""Separator of each text format; None for JSON Lines."""


def check(rest: str) -> None:
    """Check that a manifest, its folder and the library for it exist; read nothing.

    Raises:
        UsageError: The specification is malformed, a file or folder is missing, the suffix of the
            file is unknown, or pyarrow is not installed.
    """
    place, options = _spec.split(KIND, rest, OPTIONS)
    _spec.side(KIND, options)
    path = _spec.path(KIND, place)
    spec = f"evaluation set {f'{KIND}:{place}'!r}"
    suffix = _suffix(path)
    if path.is_dir():
        raise UsageError(f"{spec}: {path} is a folder; name the table in it, such as a .csv file")
    if suffix not in {*TEXT, ".parquet"} or (suffix == ".parquet" and _is_gzip(path)):
        raise UsageError(
            f"{spec}: {path} has an unknown suffix; allowed are {', '.join(TEXT)}, each also with"
            " .gz, and .parquet"
        )
    if not path.is_file():
        raise UsageError(f"{spec}: no file {path}")
    if suffix == ".parquet":
        require_installed(f"evaluation set {KIND}:*.parquet", ["pyarrow"], "parquet")
    _spec.folder(KIND, str(_root(path, options)), ())


def load(rest: str, *, remember: Remember = forget) -> EvaluationSet:  # noqa: ARG001
    """Load a manifest; the module's docstring has the columns.

    Args:
        rest: ``FILE``, then options: ``FILE,root=DIR,side=native,report=COLUMN``.
        remember: Unused: only reading the images is slow here.

    Raises:
        UsageError: Same as :func:`check`.
        EvaluationSetError: The table or a row cannot be used; the message names the row by its
            number, counted from 1 after the header, and its line.
    """
    check(rest)
    place, options = _spec.split(KIND, rest, OPTIONS)
    path = Path(place).expanduser()
    table = _read(path, options)
    columns = _cells.find_columns(str(path), table.columns, options, ("image",))
    _cells.require_report_column(str(path), columns, table.columns)
    rows = _rows(path, table, columns, _root(path, options))
    unread = _cells.unread_columns(table.columns, columns)
    return build(f"{KIND}:{rest}", rows, _spec.side(KIND, options), unread)


def _rows(
    path: Path, table: Table, columns: dict[str, str], root: Path
) -> Iterator[Row | Exclusion]:
    if not table.records:
        raise EvaluationSetError(f"{path} has no rows; write one row per image")
    for record in table.records:
        where = f"{path}, {record.item}"
        cells = {field: record.cells.get(column) for field, column in columns.items()}
        if _cells.is_empty_row(cells):
            yield Exclusion(record.item, EMPTY_ROW)
            continue
        image = _cells.text(where, "image", cells["image"])
        yield Row(where, image, file_source(root, image, where), cells)


def _read(path: Path, options: dict[str, str]) -> Table:
    suffix = _suffix(path)
    if suffix == ".parquet":
        from robustness.evalset.manifest._parquet import read_parquet

        return read_parquet(path, {options.get(field, field) for field in _cells.FIELDS})
    separator = TEXT[suffix]
    if separator is None:
        return read_json_lines(path, gzipped=_is_gzip(path))
    return read_csv(path, separator, gzipped=_is_gzip(path))


def _is_gzip(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _suffix(path: Path) -> str:
    return (path.with_suffix("") if _is_gzip(path) else path).suffix.lower()


def _root(path: Path, options: dict[str, str]) -> Path:
    return Path(options["root"]).expanduser() if "root" in options else path.parent
