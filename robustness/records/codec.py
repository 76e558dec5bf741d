"""Conversion of records to JSON values and back, and the schema of ``results.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self, TypeAlias

import msgspec
import numpy as np

from robustness.metrics.rank_counts import Counts

RESULTS_SCHEMA = "robustness-results-2"
"""Schema of ``results.json``."""

Json: TypeAlias = dict[str, Any]
"""A JSON object."""

ARRAY_DECIMALS = 6
"""Decimals of the numbers of an array; bootstrap replicates are needed for their spread alone."""


class RecordError(ValueError):
    """JSON data does not have the structure of a record; the message names the field."""


class Record:
    """Base class of the dataclasses that cross from a worker to the controller as JSON.

    :meth:`to_json` and :meth:`from_json` are inverse, except that NaN and infinities become None
    and arrays are rounded. Decoding checks the type of every field.
    """

    __slots__ = ()

    def to_json(self) -> Json:
        """Return the fields as plain JSON values."""
        data: Json = encode(self)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the record with these fields.

        Raises:
            RecordError: A field is missing or has another type.
        """
        try:
            return msgspec.convert(data, cls, dec_hook=_decode_array)
        except msgspec.ValidationError as error:
            raise RecordError(str(error)) from error


def encode(value: object) -> Any:
    """Return a value as plain JSON values: NaN and infinities as None, arrays as lists.

    Example:
        >>> encode({"counts": np.array([1, 2]), "ends": (0.5, float("inf"))})
        {'counts': [1, 2], 'ends': [0.5, None]}
    """
    return _finite(msgspec.to_builtins(value, enc_hook=_encode_other))


def number(value: float) -> float | None:
    """Return a number that JSON can represent: None for NaN and infinities.

    Example:
        >>> number(0.5), number(float("inf"))
        (0.5, None)
    """
    return float(value) if math.isfinite(value) else None


def require_schema(results: object) -> None:
    """Raise :class:`RecordError` if a document is not a ``results.json`` of this schema."""
    schema = results.get("schema") if isinstance(results, dict) else None
    if schema != RESULTS_SCHEMA:
        raise RecordError(f"its schema is {schema!r}, this version reads {RESULTS_SCHEMA!r}")


def _encode_other(value: object) -> object:
    if isinstance(value, np.ndarray):
        return [round(item, ARRAY_DECIMALS) for item in value.tolist()]
    return value.item() if isinstance(value, np.generic) else str(value)


def _decode_array(kind: Any, data: object) -> Any:
    if kind == Counts:
        return np.array(msgspec.convert(data, list[int]), np.int64)
    # None becomes NaN.
    return np.array(msgspec.convert(data, list[float | None]), np.float64)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
