"""What an evaluation set holds, as a person reads it: blocks of aligned columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from robustness.wording import counted

MOST_LABELS = 20
MOST_COLUMNS = 20
NAME = 30
"""Columns of the terminal for a name that something is said of."""


def text(described: dict[str, Any], width: int) -> list[str]:
    """The description as a person reads it.

    Args:
        described: What :func:`robustness.evalset._describe.describe` found.
        width: Columns at most.

    Returns:
        The lines: blocks of aligned columns, numbers to the right.
    """
    blocks = [_heading(described), _views(described), _excluded(described)]
    blocks += [_unread(described)] if described["columns_not_read"] else []
    blocks += [_reports(described), _frequent(described), _lengths(described), _labels(described)]
    lines: list[str] = []
    for block in blocks:
        lines += [*([""] if lines else []), *table(block, width)]
    return lines


Row = Sequence[str]


def _heading(d: dict[str, Any]) -> list[Row]:
    return [
        (f"evaluation set {d['spec']}",),
        (f"fingerprint {d['fingerprint']}",),
        *((name, str(d[name])) for name in ("studies", "images", "patients")),
    ]


def _views(d: dict[str, Any]) -> list[Row]:
    rows = [(f"  {view or '(not stated)'}", str(count)) for view, count in d["views"].items()]
    return [("views", "images"), *rows]


def _excluded(d: dict[str, Any]) -> list[Row]:
    rows = [(f"  {reason}", str(count)) for reason, count in d["excluded"].items()]
    return [("excluded", "items"), *rows] if rows else [("excluded: nothing",)]


def _unread(d: dict[str, Any]) -> list[Row]:
    """Those first that seem to be meant for another."""
    named = sorted(d["columns_not_read"].items(), key=lambda item: item[1] is None)
    rows = [
        (f"  {fit(column, NAME)} - did you mean {meant!r}?" if meant else f"  {column}",)
        for column, meant in named[:MOST_COLUMNS]
    ]
    more = len(named) - len(rows)
    rest = [(f"  and {more} more; --json lists all",)] if more else []
    return [(f"columns not read: {len(named)}",), *rows, *rest]


def _reports(d: dict[str, Any]) -> list[Row]:
    repeated = d["repeated_reports"]
    return [
        ("reports, by findings and impression", str(d["reports"]), "share"),
        ("  distinct texts", str(d["distinct_texts"]), _share(d["distinct_texts"], d["reports"])),
        ("  same text as another study's", str(repeated), _share(repeated, d["reports"])),
    ]


def _frequent(d: dict[str, Any]) -> list[Row]:
    rows = [
        (f"  {each['text'] or '(empty)'}", str(each["reports"])) for each in d["frequent_texts"]
    ]
    return [("most frequent texts", "reports"), *rows] if rows else [("no text repeats",)]


def _lengths(d: dict[str, Any]) -> list[Row]:
    rows = [
        (
            f"  {name.replace('+', ' and ')}",
            *(_number(each[key]) for key in ("reports", "min", "median", "mean", "p95", "max")),
        )
        for name, each in d["length"].items()
    ]
    return [("words", "reports", "min", "median", "mean", "95 %", "max"), *rows]


def _labels(d: dict[str, Any]) -> list[Row]:
    if not d["labelled"]:
        return [("labels: this set has none",)]
    of = d["labelled"]
    shown = list(d["labels"].items())[:MOST_LABELS]
    rows = [(f"  {name}", str(e["count"]), _share(e["count"], of)) for name, e in shown]
    more = len(d["labels"]) - len(shown)
    rest = [(f"  and {counted(more, 'more name')}, rarer; --json lists all",)] if more else []
    return [
        ("labels", "images", "share"),
        *rows,
        *rest,
        ("labelled", str(of), ""),
        ("  with nothing named", str(d["without_findings"]), _share(d["without_findings"], of)),
        ("  different label sets", str(d["label_sets"]), ""),
        ("not labelled", str(d["without_labels"]), ""),
    ]


def _share(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.1f}"


def table(rows: Sequence[Row], width: int) -> list[str]:
    """Columns lined up, the first to the left and cut where need be, the others to the right.

    Args:
        rows: Cells; a row of one cell is not a part of the columns.
        width: Columns of a line at most.
    """
    full = [row for row in rows if len(row) > 1]
    numbers = [max(map(columns, cells)) for cells in zip(*(r[1:] for r in full), strict=True)]
    room = width - sum(numbers) - 2 * len(numbers)
    first = min(room, max((columns(row[0]) for row in full), default=0))
    lines = []
    for row in rows:
        if len(row) == 1:
            lines.append(fit(row[0], width))
            continue
        name = fit(row[0], first)
        cells = (f"  {cell:>{size}}" for cell, size in zip(row[1:], numbers, strict=True))
        lines.append((name + " " * (first - columns(name)) + "".join(cells)).rstrip())
    return lines


def fit(line: str, width: int) -> str:
    """A line of at most so many columns; what would move the cursor is replaced."""
    line = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line
    )
    if columns(line) <= width:
        return line
    line = line[: 2 * width]  # letters that take no column are few
    while columns(line) > width - 1:
        line = line[:-1]
    return line.rstrip(" ,.;:") + "…"


def columns(line: str) -> int:
    """Columns of a terminal that a line takes: East Asian letters two, accents on others none."""
    wide = sum(unicodedata.east_asian_width(letter) in {"F", "W"} for letter in line)
    return len(line) + wide - sum(unicodedata.combining(letter) > 0 for letter in line)
