"""A table as its file holds it, before anything is asked of its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MAX_ROWS = 2**22
"""Rows of a table at most: eleven times the images of MIMIC-CXR-JPG."""

MAX_TEXT = 2**30
"""Bytes of a table's text at most, unpacked: all of its rows are held in memory."""


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
