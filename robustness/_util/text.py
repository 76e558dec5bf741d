"""Text for people: counts and aligned columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence


def counted(n: int, one: str) -> str:
    """Return a number with what it counts.

    Args:
        n: The number.
        one: The singular of a noun with a regular plural.

    Example:
        >>> counted(1, "image"), counted(2, "image"), counted(0, "study")
        ('1 image', '2 images', '0 studies')
    """
    if n == 1:
        return f"1 {one}"
    if one.endswith("y"):
        return f"{n:,} {one[:-1]}ies"
    return f"{n:,} {one}{'es' if one.endswith('s') else 's'}"


def points(share: float) -> str:
    """Return a difference of fractions in percentage points.

    Example:
        >>> points(0.014), points(0.01)
        ('1.4 points', '1 point')
    """
    text = f"{100 * share:.1f}".removesuffix(".0")
    return f"{text} point" if text == "1" else f"{text} points"


def columns(line: str) -> int:
    r"""Return the terminal columns of a line: wide letters take two, combining accents none.

    Example:
        >>> columns("胸部"), columns("e\N{COMBINING ACUTE ACCENT}")
        (4, 1)
    """
    wide = sum(unicodedata.east_asian_width(letter) in {"F", "W"} for letter in line)
    return len(line) + wide - sum(unicodedata.combining(letter) > 0 for letter in line)


def fit(line: str, width: int) -> str:
    """Return a line cut to a number of columns; control characters are replaced.

    Example:
        >>> fit("no acute disease", 10)
        'no acute…'
    """
    line = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line
    )
    if columns(line) <= width:
        return line
    line = line[: 2 * width]  # combining accents are rare
    while columns(line) > width - 1:
        line = line[:-1]
    return line.rstrip(" ,.;:") + "…"


def aligned(rows: Sequence[Sequence[str]], left: Collection[int], gap: int = 2) -> list[str]:
    """Return the rows of a table as lines with aligned columns.

    Args:
        rows: Cells, as many in every row.
        left: Indexes of the columns to align left; the others are aligned right.
        gap: Spaces between columns.

    Example:
        >>> aligned([("view", "images"), ("PA", "7")], left={0})
        ['view  images', 'PA         7']
    """
    widths = [max(map(columns, cells)) for cells in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        spaces = [" " * (size - columns(cell)) for cell, size in zip(row, widths, strict=True)]
        cells = (
            cell + space if index in left else space + cell
            for index, (cell, space) in enumerate(zip(row, spaces, strict=True))
        )
        lines.append((" " * gap).join(cells).rstrip())
    return lines
