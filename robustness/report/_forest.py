"""The comparison with a baseline as a table of the page, with a drawing of each drop."""

from __future__ import annotations

from dataclasses import dataclass

from robustness._util.text import points
from robustness.report._common import Item, worst_first
from robustness.report._comparison import place

WIDTH, HEIGHT, MARGIN = 240, 22, 14

_STEPS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_MAX_TICKS = 5


@dataclass(frozen=True, slots=True)
class Whisker:
    """A drop with its interval, in SVG coordinates along the row; None for an unknown end."""

    x: float
    low: float | None
    high: float | None
    tooltip: str


@dataclass(frozen=True, slots=True)
class Forest:
    """The comparison.

    Attributes:
        rows: The comparisons, the worst first, each with its drawing; None if it has no drop.
        zero: SVG coordinate of no drop.
        margin: SVG coordinate of the tolerated drop.
        ticks: SVG coordinates along a row, with their labels in points.
    """

    rows: tuple[tuple[Item, Whisker | None], ...]
    zero: float
    margin: float
    ticks: tuple[tuple[float, str], ...]


def forest(comparison: Item | None) -> Forest | None:
    """Return the drawing of a comparison; None if there is no comparison.

    Args:
        comparison: ``comparison`` of ``results.json``.
    """
    if comparison is None:
        return None
    cases = worst_first(comparison["comparisons"])
    ends = [end for case in cases if case["drop"] for end in case["drop"].values()]
    ends = [0.0, comparison["margin"], *(end for end in ends if end is not None)]
    axis = _Axis(min(ends), max(ends))
    return Forest(
        rows=tuple((case, _whisker(case, axis) if case["drop"] else None) for case in cases),
        zero=axis.x(0),
        margin=axis.x(comparison["margin"]),
        ticks=axis.ticks(),
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float

    def x(self, drop: float) -> float:
        span = max(self.high - self.low, 1e-9)
        return round(MARGIN + (WIDTH - 2 * MARGIN) * (drop - self.low) / span, 1)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        span = self.high - self.low
        step = next((s for s in _STEPS if span / s < _MAX_TICKS), _STEPS[-1])
        # Multiples of the step: repeated addition would accumulate rounding errors.
        first, last = -int(-self.low / step), int(self.high / step)
        return tuple(
            (self.x(n * step), f"{100 * n * step:.1f}".removesuffix(".0"))
            for n in range(first, last + 1)
        )


def _whisker(case: Item, axis: _Axis) -> Whisker:
    value, low, high = (case["drop"][part] for part in ("value", "low", "high"))
    tooltip = f"{place(case)}: drop of {points(value)}"
    if low is not None and high is not None:
        tooltip += f", {100 * low:.1f} to {100 * high:.1f}"
    return Whisker(
        x=axis.x(value),
        low=None if low is None else axis.x(low),
        high=None if high is None else axis.x(high),
        tooltip=tooltip,
    )
