"""The comparison with a baseline as the page shows it: a table with each case's fall drawn in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robustness._util.text import points
from robustness.report._comparison import Item, place, worst_first

WIDTH, HEIGHT, EDGE = 240, 22, 14

_STEPS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_MOST_TICKS = 5


@dataclass(frozen=True, slots=True)
class Drawn:
    """A fall with its interval, in SVG coordinates along the row.

    Attributes:
        x: The fall.
        low: The interval's lower end, or None where it is unknown.
        high: Its upper end, likewise.
        said: For a person who points at it.
    """

    x: float
    low: float | None
    high: float | None
    said: str


@dataclass(frozen=True, slots=True)
class Forest:
    """The comparison.

    Attributes:
        rows: The cases, what failed first, each with its drawing; None where it has none.
        zero: Where no fall is, in SVG coordinates along a row.
        margin: Where the fall that is tolerated is.
        ticks: Places and texts along a row, in points.
        rule: When a case fails, in words.
    """

    rows: tuple[tuple[Item, Drawn | None], ...]
    zero: float
    margin: float
    ticks: tuple[tuple[float, str], ...]
    rule: str


def forest(comparison: Item | None) -> Forest | None:
    """The comparison as the page shows it; None where there was none.

    Args:
        comparison: ``comparison`` of ``results.json``.
    """
    if comparison is None:
        return None
    cases = worst_first(comparison["comparisons"])
    known = [end for case in cases if case["drop"] for end in case["drop"].values()]
    ends = [0.0, comparison["margin"], *(end for end in known if end is not None)]
    axis = _Axis(min(ends), max(ends))
    return Forest(
        rows=tuple((case, _drawn(case, axis) if case["drop"] else None) for case in cases),
        zero=axis.x(0),
        margin=axis.x(comparison["margin"]),
        ticks=axis.ticks(),
        rule=_rule(comparison),
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float

    def x(self, drop: float) -> float:
        span = max(self.high - self.low, 1e-9)
        return round(EDGE + (WIDTH - 2 * EDGE) * (drop - self.low) / span, 1)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        span = self.high - self.low
        step = next((s for s in _STEPS if span / s < _MOST_TICKS), _STEPS[-1])
        # Counted in steps: added up, they would stray from round numbers.
        first, last = -int(-self.low / step), int(self.high / step)
        return tuple(
            (self.x(n * step), f"{100 * n * step:.1f}".removesuffix(".0"))
            for n in range(first, last + 1)
        )


def _drawn(case: Item, axis: _Axis) -> Drawn:
    drop: Mapping[str, Any] = case["drop"]
    low, high = drop["low"], drop["high"]
    said = f"{place(case)}: fell by {points(drop['value'])}"
    if low is not None and high is not None:
        said += f", {100 * low:.1f} to {100 * high:.1f}"
    return Drawn(
        x=axis.x(drop["value"]),
        low=None if low is None else axis.x(low),
        high=None if high is None else axis.x(high),
        said=said,
    )


def _rule(comparison: Item) -> str:
    metric, margin = comparison["metric"], points(comparison["margin"])
    alpha = comparison["alpha"]
    if comparison["mode"] == "non_inferiority":
        return (
            f"A case passes where a fall of {metric} by {margin} or more is excluded, with"
            f" {100 * (1 - alpha):g} % confidence in all the cases at once."
        )
    return (
        f"A case fails where {metric} fell by more than {margin} and the ranks grew worse beyond"
        f" chance: p ≤ {alpha:g} by sign flips of the patients' log ranks, corrected for the"
        f" number of cases (Holm). The interval is that of {metric}, which few queries move; the"
        " log rank moves with every query, so p can be small where the interval holds 0."
    )
