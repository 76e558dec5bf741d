"""One degradation curve as an SVG: the headline metric over the levels, with its intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from robustness.metrics import PRIMARY_METRIC

RETENTION = f"retention({PRIMARY_METRIC})"

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 40, 14, 24, 36

APART = 22
"""Least distance of two texts along the levels, so that none covers another."""

Point = tuple[float, float]
Cell = Mapping[str, Any]
"""One of ``cases`` of ``results.json``."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place with its text for a person who points at it.

    Attributes:
        x: SVG coordinate.
        y: SVG coordinate.
        said: The text.
        failed: Whether its measurement failed.
    """

    x: float
    y: float
    said: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One fill's curve, in SVG coordinates.

    Attributes:
        fill: The fill.
        paths: The curve, ``x,y x,y``, broken where a level was not measured.
        bands: The outlines of its intervals, likewise broken where one is unknown.
        dots: One a measurement.
    """

    fill: str
    paths: tuple[str, ...]
    bands: tuple[str, ...]
    dots: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """One panel: a model, a pattern and a direction.

    Attributes:
        pattern: The pattern.
        direction: The direction.
        lines: One a fill.
        bounds: The height that the bounds require at a level; fills with one height share it.
        missing: The levels without a value, on the axis.
        chance: The height of chance, or None where nothing was measured.
        x_ticks: Places and texts along the levels.
        y_ticks: Places and texts along the metric.
    """

    pattern: str
    direction: str
    lines: tuple[Line, ...]
    bounds: tuple[Mark, ...]
    missing: tuple[Mark, ...]
    chance: float | None
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


def charts(cells: Iterable[Cell]) -> list[Chart]:
    """The panels of one model's cells, in the cells' order.

    Args:
        cells: ``cases`` of ``results.json``, of one model.
    """
    panels: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        panels.setdefault((cell["pattern"], cell["direction"]), []).append(cell)
    return [_chart(pattern, direction, mine) for (pattern, direction), mine in panels.items()]


def _chart(pattern: str, direction: str, cells: Sequence[Cell]) -> Chart:
    cells = sorted(cells, key=lambda cell: cell["level"])
    levels = sorted({cell["level"] for cell in cells})
    top = max(levels[-1], 0.1)
    chances = [
        c["chance"][PRIMARY_METRIC] for c in cells if c["chance"].get(PRIMARY_METRIC) is not None
    ]
    fills = dict.fromkeys(cell["fill"] for cell in cells)
    return Chart(
        pattern=pattern,
        direction=direction,
        lines=tuple(_line(fill, [c for c in cells if c["fill"] == fill], top) for fill in fills),
        bounds=_bounds(cells, top),
        missing=_missing(cells, top),
        chance=_y(max(chances)) if chances else None,
        x_ticks=_x_ticks(levels, top),
        y_ticks=tuple((_y(share), f"{share:g}") for share in (0, 0.25, 0.5, 0.75, 1)),
    )


def _line(fill: str, cells: Sequence[Cell], top: float) -> Line:
    paths, bands = [], []
    for known, run in groupby(cells, key=lambda cell: _value(cell) is not None):
        if known:
            paths.append(_points((_x(c["level"], top), _y(_headline(c)["value"])) for c in run))
    for known, run in groupby(cells, key=lambda cell: None not in _span(cell)):
        if known:
            places = [(_x(c["level"], top), *_span(c)) for c in run]
            upper = [(x, _y(high)) for x, _, high in places]
            lower = [(x, _y(low)) for x, low, _ in reversed(places)]
            bands.append(_points([*upper, *lower]))
    dots = tuple(
        Mark(_x(c["level"], top), _y(_value(c)), _said(c), c["verdict"] == "fail")
        for c in cells
        if _value(c) is not None
    )
    return Line(fill, tuple(paths), tuple(bands), dots)


def _bounds(cells: Sequence[Cell], top: float) -> tuple[Mark, ...]:
    clean = {cell["fill"]: _value(cell) for cell in cells if cell["level"] == 0}
    marks: dict[Point, str] = {}
    for cell in cells:
        heights = [
            (height, f"{bound['metric']} {bound['operator']} {bound['limit']:g}")
            for bound in cell["bounds"]
            if (height := _height(bound, cell, clean.get(cell["fill"]))) is not None
        ]
        if heights:
            height, text = max(heights)
            said = f"bound at {100 * cell['level']:g} % hidden: {text}"
            marks.setdefault((_x(cell["level"], top), _y(height)), said)
    return tuple(Mark(x, y, said) for (x, y), said in marks.items())


def _height(bound: Mapping[str, Any], cell: Cell, clean: float | None) -> float | None:
    """What a bound requires of the headline metric; of retention it follows from chance."""
    limit: float | None = bound["limit"]
    if limit is None or bound["operator"] != ">=":
        return None
    if bound["metric"] == PRIMARY_METRIC:
        return limit
    chance = cell["chance"].get(PRIMARY_METRIC)
    if bound["metric"] != RETENTION or clean is None or chance is None:
        return None
    return float(chance + limit * (clean - chance))


def _missing(cells: Sequence[Cell], top: float) -> tuple[Mark, ...]:
    without = [cell for cell in cells if _value(cell) is None]
    return tuple(
        Mark(
            _x(level, top),
            _y(0),
            f"{100 * level:g} % hidden: " + "; ".join(dict.fromkeys(c["reason"] for c in run)),
            any(cell["verdict"] == "fail" for cell in run),
        )
        for level, run in ((k, list(v)) for k, v in groupby(without, key=lambda c: c["level"]))
    )


def _x_ticks(levels: Iterable[float], top: float) -> tuple[tuple[float, str], ...]:
    ticks: list[tuple[float, str]] = []
    for level in levels:
        x = _x(level, top)
        if not ticks or x - ticks[-1][0] >= APART:
            ticks.append((x, f"{100 * level:g}"))
    return tuple(ticks)


def _headline(cell: Cell) -> Mapping[str, Any]:
    estimate: Mapping[str, Any] = cell["metrics"].get(PRIMARY_METRIC) or {}
    return estimate


def _value(cell: Cell) -> Any:
    return _headline(cell).get("value")


def _span(cell: Cell) -> tuple[Any, Any]:
    estimate = _headline(cell) if _value(cell) is not None else {}
    return estimate.get("low"), estimate.get("high")


def _said(cell: Cell) -> str:
    text = f"{cell['fill']}, {100 * cell['level']:g} % hidden: {PRIMARY_METRIC} {_value(cell):.3f}"
    low, high = _span(cell)
    if low is not None and high is not None:
        text += f" [{low:.3f}, {high:.3f}]"
    return f"{text}, {cell['verdict'].replace('_', ' ')}"


def _points(places: Iterable[Point]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in places)


def _x(level: float, top: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * level / top, 1)


def _y(share: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(max(share, 0), 1)), 1)
