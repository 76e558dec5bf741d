"""Degradation curves: what the levels say together, from the records of a run's cases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robustness import statistics
from robustness.metrics import HEADLINE, Values
from robustness.results import Record, estimate_record

HALF_ROUNDING = 1e-6
"""How far a curve of six decimals may lie above its half."""


def area_under_curve(levels: Sequence[float], curve: Values) -> Values:
    """The mean height of a degradation curve over its levels, by the trapezoid rule.

    Args:
        levels: L rising levels.
        curve: The metric at each level, ``[..., L]``.

    Returns:
        float64 ``[...]``: the area divided by the width, so 0 to 1 for a hit rate; NaN
        where there are fewer than two levels.
    """
    curve = np.asarray(curve, dtype=float)
    width = levels[-1] - levels[0]
    if width == 0:
        return np.full(curve.shape[:-1], np.nan)
    return np.asarray(np.trapezoid(curve, levels, axis=-1) / width)


def level_of_half_loss(levels: Sequence[float], curve: Values) -> Values:
    """The lowest level at which half of the curve's first value is lost.

    Args:
        levels: L rising levels, the first of them 0.
        curve: The metric at each level, ``[..., L]``.

    Returns:
        float64 ``[...]``, between two levels by a straight line; inf where more than
        half is left at every level; NaN where the first value is 0 or there is one level.
    """
    curve = np.atleast_2d(np.asarray(curve, dtype=float))
    if len(levels) == 1:
        return np.full(len(curve), np.nan)
    half = curve[:, :1] / 2
    below = curve <= half + HALF_ROUNDING
    first = np.argmax(below, axis=1)
    row = np.arange(len(curve))
    at = np.asarray(levels, dtype=float)
    high, low = curve[row, first - 1], curve[row, first]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.minimum((high - half[:, 0]) / (high - low), 1)
    crossing = at[first - 1] + part * (at[first] - at[first - 1])
    found = np.where(below.any(axis=1), crossing, np.inf)
    return np.where(curve[:, 0] > 0, found, np.nan)


def curves_of(
    model: str, pattern: str, levels: Sequence[float], points: Sequence[Sequence[Record]]
) -> list[Record]:
    """What the levels of a model and pattern say together: one record a fill and direction.

    Args:
        model: Its name.
        pattern: The pattern's.
        levels: Rising.
        points: At each level, the ``curve`` of its case's record.
    """
    measures = {"area_under_curve": area_under_curve, "level_of_half_loss": level_of_half_loss}
    curves = []
    for place, first in enumerate(points[0]):
        along = [point[place] for point in points]
        value = np.array([point["value"] for point in along])
        resampled = np.array([point["resampled"] for point in along]).T
        curves.append(
            {
                "model": model,
                "pattern": pattern,
                "fill": first["fill"],
                "direction": first["direction"],
                "metric": HEADLINE,
                **{
                    name: estimate_record(
                        statistics.Replicates(
                            measure(levels, value).item(), measure(levels, resampled)
                        ).estimate()
                    )
                    for name, measure in measures.items()
                },
            }
        )
    return curves
