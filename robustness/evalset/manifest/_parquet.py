"""Tables in Parquet files; the columns that are asked for are read, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robustness.errors import EvaluationSetError
from robustness.evalset.manifest._table import MAX_ROWS, MAX_TEXT, Record, Table

ROWS = 1024
"""Rows that are turned from columns to records at a time."""


def read_parquet(path: Path, wanted: set[str]) -> Table:
    """Reads the columns of a Parquet file that have one of the names, in any case.

    Args:
        path: The file.
        wanted: Names of columns.

    Raises:
        EvaluationSetError: The file is truncated, damaged, or no Parquet file.
    """
    import pyarrow as pa
    from pyarrow import parquet

    names = {name.casefold() for name in wanted}
    records: list[Record] = []
    try:
        with parquet.ParquetFile(path) as file:
            columns = list(file.schema_arrow.names)
            chosen = [column for column in columns if column.strip().casefold() in names]
            for column in chosen:
                _see_no_bytes(path, column, file.schema_arrow)
            size = 0
            for batch in file.iter_batches(ROWS, columns=chosen):
                size += batch.nbytes
                if size > MAX_TEXT or len(records) + len(batch) > MAX_ROWS:
                    raise EvaluationSetError(
                        f"{path} has more than {MAX_ROWS:,} rows or {MAX_TEXT:,} bytes of text;"
                        " divide it"
                    )
                records += [
                    Record(f"row {len(records) + i}", cells)
                    for i, cells in enumerate(batch.to_pylist(), start=1)
                ]
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise EvaluationSetError(f"{path} is no Parquet file that can be read: {reason}") from error
    return Table(columns, records)


def _see_no_bytes(path: Path, column: str, schema: Any) -> None:
    """Pictures inside a table are refused before they fill the memory."""
    for kind in (field.type for field in schema if field.name == column):
        if _holds_bytes(kind):
            raise EvaluationSetError(
                f"{path}: column {column!r} holds {str(kind)[:60]}, not text; a manifest names"
                " image files, and a dataset that holds the images is read by hf:DIR"
            )


def _holds_bytes(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _holds_bytes(kind.value_type)
    if types.is_nested(kind):
        inner = (kind.field(i).type for i in range(kind.num_fields))
        return types.is_struct(kind) or any(_holds_bytes(one) for one in inner)
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )
