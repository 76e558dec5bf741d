"""Hypothesis strategies for perturbations."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from robustness.perturbation.occlusion import FILLS, PATTERNS, Occlusion

__all__ = ["MIN_LEVEL", "N_SEEDS", "occlusions"]

MIN_LEVEL = 0.01
"""Lowest level above 0 that is drawn."""

N_SEEDS = 100
"""Number of seeds drawn; below 100, see :func:`occlusions`."""


def occlusions(
    *,
    patterns: tuple[str, ...] = tuple(PATTERNS),
    fills: tuple[str, ...] = tuple(FILLS),
    levels: tuple[float, float] = (0.0, 1.0),
) -> st.SearchStrategy[Occlusion]:
    """Return a strategy of occlusions at whole percents; it shrinks to the lowest level and seed 0.

    Hypothesis also draws constants from 100 up that it finds in the user's modules. The integers
    drawn here are lower, so that a search does not depend on the user's code.

    Args:
        patterns: The patterns to draw from.
        fills: The fills to draw from.
        levels: The lowest and the highest level, inclusive.
    """
    # 0.29 * 100 is slightly below 29.
    low, high = (round(level * 100, 9) for level in levels)
    percents = range(math.ceil(low), math.floor(high) + 1)
    return st.builds(
        Occlusion,
        pattern=st.sampled_from(patterns),
        level=st.sampled_from(percents).map(lambda percent: percent / 100),
        fill=st.sampled_from(fills),
        seed=st.integers(0, N_SEEDS - 1),
    )
