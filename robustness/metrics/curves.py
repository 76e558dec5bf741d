"""Degradation curves: a metric over the levels of a perturbation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robustness.metrics.rank_counts import Values

HALF_TOLERANCE = 1e-6
"""Distance above half of its first value at which a curve of six decimals counts as halved."""


def area_under_curve(levels: Sequence[float], curve: Values) -> Values:
    """Return the normalised area under a degradation curve (trapezoid rule).

    Args:
        levels: L ascending levels.
        curve: The metric at each level, ``[..., L]``.

    Returns:
        float64 ``[...]``: area divided by width, the mean height of the curve; NaN if there
        is only one level.

    Example:
        >>> area_under_curve([0.0, 0.2, 0.4], np.array([1.0, 0.5, 0.0])).round(12).item()
        0.5
    """
    curve = np.asarray(curve, dtype=float)
    width = levels[-1] - levels[0]
    if width == 0:
        return np.full(curve.shape[:-1], np.nan)
    return np.asarray(np.trapezoid(curve, levels, axis=-1) / width)


def level_of_half_loss(levels: Sequence[float], curve: Values) -> Values:
    """Return the lowest level at which the curve is down to half of its first value.

    Args:
        levels: L ascending levels, the first of them 0.
        curve: The metric at each level, ``[L]`` or ``[B, L]``.

    Returns:
        float64 ``[1]`` or ``[B]``, linearly interpolated between two levels; inf if more than
        half is left at every level; NaN if the first value is 0 or there is only one level.

    Example:
        >>> level_of_half_loss([0.0, 0.2, 0.4], np.array([1.0, 0.75, 0.25])).round(12).tolist()
        [0.3]
    """
    curve = np.atleast_2d(np.asarray(curve, dtype=float))
    if len(levels) == 1:
        return np.full(len(curve), np.nan)
    half = curve[:, :1] / 2
    below = curve <= half + HALF_TOLERANCE
    first = np.argmax(below, axis=1)
    row = np.arange(len(curve))
    at = np.asarray(levels, dtype=float)
    high, low = curve[row, first - 1], curve[row, first]
    with np.errstate(invalid="ignore", divide="ignore"):
        fraction = np.minimum((high - half[:, 0]) / (high - low), 1)
    crossing = at[first - 1] + fraction * (at[first] - at[first - 1])
    level = np.where(below.any(axis=1), crossing, np.inf)
    return np.where(curve[:, 0] > 0, level, np.nan)
