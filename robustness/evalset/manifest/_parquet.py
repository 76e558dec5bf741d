"""Tables in Parquet files; only the requested columns are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robustness.errors import EvaluationSetError
from robustness.evalset.manifest._table import MAX_ROWS, MAX_TEXT, Record, Table

BATCH_ROWS = 1024
"""Rows per batch that is converted to records."""


def read_parquet(path: Path, names: set[str]) -> Table:
    """Read the columns of a Parquet file with the given case-insensitive names.

    Raises:
        EvaluationSetError: The file is truncated, damaged or not a Parquet file, a column contains
            bytes, or the table is too large.
    """
    import pyarrow as pa
    from pyarrow import parquet

    requested = {name.casefold() for name in names}
    records: list[Record] = []
    try:
        with parquet.ParquetFile(path) as file:
            columns = list(file.schema_arrow.names)
            chosen = [column for column in columns if column.strip().casefold() in requested]
            for column in chosen:
                _reject_bytes(path, column, file.schema_arrow)
            size = 0
            for batch in file.iter_batches(BATCH_ROWS, columns=chosen):
                size += batch.nbytes
                if size > MAX_TEXT or len(records) + len(batch) > MAX_ROWS:
                    raise EvaluationSetError(
                        f"{path} has more than {MAX_ROWS:,} rows or {MAX_TEXT:,} bytes of text;"
                        " split it"
                    )
                records += [
                    Record(f"row {len(records) + i}", cells)
                    for i, cells in enumerate(batch.to_pylist(), start=1)
                ]
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise EvaluationSetError(f"{path} is not a readable Parquet file: {reason}") from error
    return Table(columns, records)


def _reject_bytes(path: Path, column: str, schema: Any) -> None:
    """Reject a column of bytes, such as images, before it is read into memory."""
    for data_type in (field.type for field in schema if field.name == column):
        if _contains_bytes(data_type):
            raise EvaluationSetError(
                f"{path}: column {column!r} contains {str(data_type)[:60]}, not text; a manifest"
                " names image files; a dataset that contains images is read by hf:DIR"
            )


def _contains_bytes(data_type: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(data_type):
        return _contains_bytes(data_type.value_type)
    if types.is_nested(data_type):
        children = (data_type.field(i).type for i in range(data_type.num_fields))
        return types.is_struct(data_type) or any(_contains_bytes(child) for child in children)
    return bool(
        types.is_binary(data_type)
        or types.is_large_binary(data_type)
        or types.is_binary_view(data_type)
        or types.is_fixed_size_binary(data_type)
    )
