"""Hypothesis strategies over what the gate varies."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from robustness.perturbation.occlusion import FILLS, PATTERNS, Occlusion

__all__ = ["LEAST", "SEEDS", "occlusions"]

LEAST = 0.01
"""The lowest level that hides anything, of those that are drawn."""


SEEDS = 100
"""How many places a pattern is drawn in at one level."""


def occlusions(
    *,
    patterns: tuple[str, ...] = tuple(PATTERNS),
    fills: tuple[str, ...] = tuple(FILLS),
    levels: tuple[float, float] = (0.0, 1.0),
) -> st.SearchStrategy[Occlusion]:
    """Whole occlusions, at levels of whole percents; they shrink towards the lowest and seed 0.

    Hypothesis also draws numbers that stand in modules which are not installed, from 100 on. The
    numbers drawn here are lower, so that what is tried does not change with a user's code.

    Args:
        patterns: The patterns to draw from.
        fills: The fills to draw from.
        levels: The lowest and the highest level, both included.
    """
    # Rounded: 0.29 * 100 is a rounding below 29.
    low, high = (round(level * 100, 9) for level in levels)
    percents = range(math.ceil(low), math.floor(high) + 1)
    return st.builds(
        Occlusion,
        pattern=st.sampled_from(patterns),
        level=st.sampled_from(percents).map(lambda percent: percent / 100),
        fill=st.sampled_from(fills),
        seed=st.integers(0, SEEDS - 1),
    )
