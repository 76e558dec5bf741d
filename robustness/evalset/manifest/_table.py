"""A table as its file holds it, before anything is asked of its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Record:
    """A row of a table.

    Attributes:
        item: Its number, from 1 after the header, and in a text file its line.
        cells: What it holds, by column.
    """

    item: str
    cells: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under the names of their columns."""

    columns: Sequence[str]
    records: Sequence[Record]
