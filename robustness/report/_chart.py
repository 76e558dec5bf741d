"""Degradation curves as SVG: the headline metric over the levels, with its intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from robustness.metrics import PRIMARY_METRIC
from robustness.report._common import Item, words

RETENTION = f"retention({PRIMARY_METRIC})"

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 40, 14, 24, 36

MIN_TICK_DISTANCE = 22
"""Smallest distance of two labels along the levels, so that they do not overlap."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """A point with its tooltip, in SVG coordinates.

    Attributes:
        failed: True if its measurement failed.
    """

    x: float
    y: float
    tooltip: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """The curve of one fill, in SVG coordinates.

    Attributes:
        paths: The curve, ``x,y x,y``; a new path starts after a level that was not measured.
        bands: Outlines of the intervals, split likewise at an unknown interval.
        dots: One per measurement.
    """

    fill: str
    paths: tuple[str, ...]
    bands: tuple[str, ...]
    dots: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """The panel of a pattern and direction, in SVG coordinates.

    Attributes:
        lines: One per fill.
        bounds: The value that the bounds require at each level.
        missing: The levels without a value, on the axis.
        chance: The height of chance, or None if nothing was measured.
        x_ticks: Coordinates and labels of the levels.
        y_ticks: Coordinates and labels of the metric.
    """

    pattern: str
    direction: str
    lines: tuple[Line, ...]
    bounds: tuple[Mark, ...]
    missing: tuple[Mark, ...]
    chance: float | None
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


def charts(measurements: Iterable[Item]) -> list[Chart]:
    """Return the panels of one model, in the order of its measurements.

    Args:
        measurements: ``measurements`` of ``results.json``, of one model.
    """
    panels: dict[tuple[str, str], list[Item]] = {}
    for each in measurements:
        panels.setdefault((each["pattern"], each["direction"]), []).append(each)
    return [_chart(pattern, direction, panel) for (pattern, direction), panel in panels.items()]


def _chart(pattern: str, direction: str, panel: Sequence[Item]) -> Chart:
    panel = sorted(panel, key=lambda each: each["level"])
    levels = sorted({each["level"] for each in panel})
    top = max(levels[-1], 0.1)
    chances = [each["chance"].get(PRIMARY_METRIC) for each in panel]
    chances = [chance for chance in chances if chance is not None]
    fills = dict.fromkeys(each["fill"] for each in panel)
    return Chart(
        pattern=pattern,
        direction=direction,
        lines=tuple(_line(fill, [c for c in panel if c["fill"] == fill], top) for fill in fills),
        bounds=_bounds(panel, top),
        missing=_missing(panel, top),
        chance=_y(max(chances)) if chances else None,
        x_ticks=_x_ticks(levels, top),
        y_ticks=tuple((_y(share), f"{share:g}") for share in (0, 0.25, 0.5, 0.75, 1)),
    )


def _line(fill: str, measurements: Sequence[Item], top: float) -> Line:
    paths, bands, dots = [], [], []
    for known, run in groupby(measurements, key=lambda each: _headline(each)[0] is not None):
        if known:
            points = [(_x(each["level"], top), _y(_headline(each)[0]), each) for each in run]
            paths.append(_svg_points((x, y) for x, y, _ in points))
            dots += [Mark(x, y, _tooltip(each), each["verdict"] == "fail") for x, y, each in points]
    for known, run in groupby(measurements, key=lambda each: None not in _headline(each)):
        if known:
            ends = [(_x(each["level"], top), *_headline(each)[1:]) for each in run]
            upper = [(x, _y(high)) for x, _, high in ends]
            lower = [(x, _y(low)) for x, low, _ in reversed(ends)]
            bands.append(_svg_points([*upper, *lower]))
    return Line(fill, tuple(paths), tuple(bands), tuple(dots))


def _bounds(measurements: Sequence[Item], top: float) -> tuple[Mark, ...]:
    """Return the highest bound of each measurement; fills with the same bound share a mark."""
    clean = {each["fill"]: _headline(each)[0] for each in measurements if each["level"] == 0}
    marks: dict[Point, str] = {}
    for each in measurements:
        required = [
            (value, f"{bound['metric']} {bound['operator']} {bound['limit']:g}")
            for bound in each["bounds"]
            if (value := _required(bound, each, clean.get(each["fill"]))) is not None
        ]
        if required:
            value, text = max(required)
            tooltip = f"bound at {100 * each['level']:g} % hidden: {text}"
            marks.setdefault((_x(each["level"], top), _y(value)), tooltip)
    return tuple(Mark(x, y, tooltip) for (x, y), tooltip in marks.items())


def _required(bound: Item, measurement: Item, clean: float | None) -> float | None:
    """Return the headline metric that a bound requires, also by a bound on its retention."""
    limit: float | None = bound["limit"]
    if limit is None or bound["operator"] != ">=":
        return None
    if bound["metric"] == PRIMARY_METRIC:
        return limit
    chance = measurement["chance"].get(PRIMARY_METRIC)
    if bound["metric"] != RETENTION or clean is None or chance is None:
        return None
    return float(chance + limit * (clean - chance))


def _missing(measurements: Sequence[Item], top: float) -> tuple[Mark, ...]:
    missing = [each for each in measurements if _headline(each)[0] is None]
    marks = []
    for level, run in groupby(missing, key=lambda each: each["level"]):
        at_level = list(run)
        reasons = "; ".join(dict.fromkeys(each["reason"] for each in at_level))
        failed = any(each["verdict"] == "fail" for each in at_level)
        marks.append(Mark(_x(level, top), _y(0), f"{100 * level:g} % hidden: {reasons}", failed))
    return tuple(marks)


def _x_ticks(levels: Iterable[float], top: float) -> tuple[tuple[float, str], ...]:
    ticks: list[tuple[float, str]] = []
    for level in levels:
        x = _x(level, top)
        if not ticks or x - ticks[-1][0] >= MIN_TICK_DISTANCE:
            ticks.append((x, f"{100 * level:g}"))
    return tuple(ticks)


def _headline(measurement: Item) -> tuple[Any, Any, Any]:
    """Return the headline metric and the ends of its interval; None if unknown."""
    estimate = measurement["metrics"].get(PRIMARY_METRIC) or {}
    if estimate.get("value") is None:
        return None, None, None
    return estimate["value"], estimate["low"], estimate["high"]


def _tooltip(measurement: Item) -> str:
    value, low, high = _headline(measurement)
    level, verdict = 100 * measurement["level"], words(measurement["verdict"])
    interval = f" [{low:.3f}, {high:.3f}]" if None not in (low, high) else ""
    name = f"{measurement['fill']}, {level:g} % hidden"
    return f"{name}: {PRIMARY_METRIC} {value:.3f}{interval}, {verdict}"


def _svg_points(points: Iterable[Point]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _x(level: float, top: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * level / top, 1)


def _y(share: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(max(share, 0), 1)), 1)
