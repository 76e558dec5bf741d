"""The degradation curves as a Markdown table, for a README or a pull request."""

from __future__ import annotations

from typing import Any

from robustness.metrics import PRIMARY_METRIC


def markdown(results: dict[str, Any], metric: str = PRIMARY_METRIC) -> str:
    """One row a model, pattern, fill and direction; one column a level.

    Args:
        results: The content of ``results.json``.
        metric: The metric to show.

    Raises:
        KeyError: The results lack the metric.
    """
    cells = results["measurements"]
    levels = list(dict.fromkeys(cell["level"] for cell in cells))
    head = ["model", "pattern", "fill", "direction", *(f"{100 * level:g} %" for level in levels)]
    lines = [head, ["---"] * 4 + ["---:"] * len(levels)]
    keys = ("model", "pattern", "fill", "direction")
    for row in dict.fromkeys(tuple(cell[key] for key in keys) for cell in cells):
        mine = {c["level"]: c for c in cells if tuple(c[key] for key in keys) == row}
        words = [text.replace("_", " ") for text in row]
        lines.append([*words, *(_shown(mine[level], metric) for level in levels)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(cell: dict[str, Any], metric: str) -> str:
    if not cell["metrics"]:
        return "-"
    value = cell["metrics"][metric]["value"]
    return "-" if value is None else f"{value:.3f}".removeprefix("0")
