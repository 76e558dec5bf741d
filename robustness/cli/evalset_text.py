"""Text of the description of an evaluation set: blocks of aligned columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robustness._util.text import aligned, columns, counted, fit

MAX_LABELS = 20
MAX_UNREAD = 20
"""Table columns that are not read to list."""

MAX_NAME = 30
"""Terminal columns of the name of such a table column."""


def text(described: dict[str, Any], width: int) -> list[str]:
    """Return the result of ``describe`` as lines of at most ``width`` terminal columns."""
    blocks = [_heading(described), _views(described), _excluded(described)]
    blocks += [_unread(described)] if described["columns_not_read"] else []
    blocks += [_reports(described), _frequent(described), _lengths(described), _labels(described)]
    lines: list[str] = []
    for block in blocks:
        lines += [*([""] if lines else []), *_table(block, width)]
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
    return [("excluded", "items"), *rows] if rows else [("excluded: none",)]


def _unread(d: dict[str, Any]) -> list[Row]:
    """List the table columns that are not read, likely spelling mistakes first."""
    named = sorted(d["columns_not_read"].items(), key=lambda item: item[1] is None)
    rows = [
        (f"  {fit(column, MAX_NAME)} - did you mean {meant!r}?" if meant else f"  {column}",)
        for column, meant in named[:MAX_UNREAD]
    ]
    more = len(named) - len(rows)
    rest = [(f"  and {more} more; --json lists all",)] if more else []
    return [(f"columns not read: {len(named)}",), *rows, *rest]


def _reports(d: dict[str, Any]) -> list[Row]:
    repeated = d["repeated_reports"]
    return [
        ("reports (findings and impression)", str(d["reports"]), "share"),
        ("  distinct texts", str(d["distinct_texts"]), _share(d["distinct_texts"], d["reports"])),
        ("  same text as another study", str(repeated), _share(repeated, d["reports"])),
    ]


def _frequent(d: dict[str, Any]) -> list[Row]:
    rows = [
        (f"  {each['text'] or '(empty)'}", str(each["reports"])) for each in d["frequent_texts"]
    ]
    return [("most frequent texts", "reports"), *rows] if rows else [("repeated texts: none",)]


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
        return [("labels: none",)]
    of = d["labelled"]
    shown = list(d["labels"].items())[:MAX_LABELS]
    rows = [(f"  {name}", str(e["count"]), _share(e["count"], of)) for name, e in shown]
    more = len(d["labels"]) - len(shown)
    rest = [(f"  and {counted(more, 'rarer label')}; --json lists all",)] if more else []
    return [
        ("labels", "images", "share"),
        *rows,
        *rest,
        ("labelled", str(of), ""),
        ("  without findings", str(d["without_findings"]), _share(d["without_findings"], of)),
        ("  distinct label sets", str(d["label_sets"]), ""),
        ("not labelled", str(d["without_labels"]), ""),
    ]


def _share(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.1f}"


def _table(rows: Sequence[Row], width: int) -> list[str]:
    """Align the rows; cut the first column to the width. A row of one cell is a line of text."""
    table = [row for row in rows if len(row) > 1]
    numbers = [max(map(columns, cells)) for cells in zip(*(r[1:] for r in table), strict=True)]
    room = width - sum(numbers) - 2 * len(numbers)
    lines = iter(aligned([(fit(row[0], room), *row[1:]) for row in table], left={0}))
    return [fit(row[0], width) if len(row) == 1 else next(lines) for row in rows]
