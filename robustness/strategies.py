"""Hypothesis strategies over what the gate varies."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from robustness.occlusion import FILLS, PATTERNS, Occlusion

__all__ = ["LEAST", "occlusions"]


LEAST = 0.01
"""The lowest level that hides anything, of those that are drawn."""


def occlusions(
    *,
    patterns: tuple[str, ...] = tuple(PATTERNS),
    fills: tuple[str, ...] = tuple(FILLS),
    levels: tuple[float, float] = (0.0, 1.0),
) -> st.SearchStrategy[Occlusion]:
    """Whole occlusions, at levels of whole percents; they shrink towards level and seed 0.

    Args:
        patterns: The patterns to draw from.
        fills: The fills to draw from.
        levels: The lowest and the highest level, both included.
    """
    # Rounded: 0.29 * 100 is a rounding below 29.
    low, high = (round(level * 100, 9) for level in levels)
    return st.builds(
        Occlusion,
        pattern=st.sampled_from(patterns),
        level=st.integers(math.ceil(low), math.floor(high)).map(lambda percent: percent / 100),
        fill=st.sampled_from(fills),
        seed=st.integers(0, 2**32 - 1),
    )
