"""Occlusion patterns: functions from random bits and a level to hidden boxes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.int64]
"""Boxes of an image, int64 ``[n, 4]``: top, bottom, left, right; ends are exclusive."""

Pattern = Callable[[np.random.Philox, float, int, int], Boxes]
"""Function from random bits, a level above 0, a height and a width to disjoint boxes.

With the same bits, the boxes of a higher level must cover those of a lower one.
"""

GRID = 16
"""Number of cells along each side of the ``grid`` pattern."""


def square(bits: np.random.Philox, level: float, height: int, width: int) -> Boxes:
    """Return one box, as square as the image allows, at a uniformly random position."""
    box_height, box_width = _box_size(level * height * width, height, width)
    down, right = (bits.random_raw(2) >> np.uint64(11)) * 2.0**-53
    # If a side grows by one, its near edge moves back by at most one, so boxes are nested.
    top = math.floor(down * (height - box_height))
    left = math.floor(right * (width - box_width))
    return np.array([[top, top + box_height, left, left + box_width]])


def _box_size(area: float, height: int, width: int) -> tuple[int, int]:
    """Return the box nearest to an area in the chain s x s, (s + 1) x s, (s + 1) x (s + 1), ...

    Beyond the image's short side only the long side grows. Every box of the chain contains the
    previous one, which is not true of the nearest box among all sizes.
    """
    short = min(height, width)
    side = math.isqrt(math.floor(area))
    if side >= short:
        long = math.floor(area / short + 0.5)
        return (short, long) if height == short else (long, short)
    chain = ((side, side), (side + 1, side), (side + 1, side + 1))
    return min(chain, key=lambda box: abs(box[0] * box[1] - area))


def grid(bits: np.random.Philox, level: float, height: int, width: int) -> Boxes:
    """Return whole cells in random order, and of the last cell as many rows as needed."""
    rows = np.arange(GRID + 1) * height // GRID
    columns = np.arange(GRID + 1) * width // GRID
    order = np.argsort(bits.random_raw(GRID * GRID), kind="stable")
    down, right = np.divmod(order, GRID)
    heights, widths = np.diff(rows)[down], np.diff(columns)[right]
    covered = np.cumsum(heights * widths)
    area = level * height * width
    whole = int(np.searchsorted(covered, area, side="right"))
    if whole < order.size:
        rest = area - (covered[whole - 1] if whole else 0)
        heights[whole] = math.floor(rest / widths[whole] + 0.5)
    tops, lefts = rows[down], columns[right]
    return np.stack([tops, tops + heights, lefts, lefts + widths], axis=1)[: whole + 1]


PATTERNS: dict[str, Pattern] = {"square": square, "grid": grid}
"""Patterns by name."""
