"""Rows of a table file, with unvalidated cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MAX_ROWS = 2**22
"""Maximum rows of a table: eleven times the images of MIMIC-CXR-JPG."""

MAX_TEXT = 2**30
"""Maximum uncompressed size of a table in bytes: all rows are in memory."""


@dataclass(frozen=True, slots=True)
class Record:
    """A row of a table.

    Attributes:
        item: Its number, from 1 after the header, and for text files its line.
        cells: The cells by column.
    """

    item: str
    cells: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Table:
    """The columns and rows of a table."""

    columns: Sequence[str]
    records: Sequence[Record]
