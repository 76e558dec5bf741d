"""Exact p-values of one-sided sign-flip tests, and Holm's step-down over many of them.

Holm needs p-values near 1e-5 for 32 cases, and no number of random flips shows one. None
are drawn here: the statistic is rounded to whole steps, and the distribution of a sum of
whole numbers under all the flips is counted out. Rounding changes which statistic is
tested, by little; that the test keeps its level is exact, whatever the rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]

_FINENESS = 64
"""Steps that the mean size of a cluster's sum is rounded to, at least."""

_WORK = 2**26
"""Additions that one test is worth where steps stay finer than that: about 20 ms."""

_MOST_STEPS = 2**17
"""Steps of all the sizes together where clusters are few: 1 MiB of counts."""

_NOTHING = 1e-12
"""What is left of differences that cancel, by rounding, as a share of their sizes."""

_SMALLEST = float(np.finfo(np.float64).tiny)


def sign_flip_test(differences: ArrayLike, clusters: Sequence[object] | NDArray[np.int64]) -> float:
    """The chance that flipping whole clusters at random gives so large a sum, or a larger one.

    Under the hypothesis that candidate and baseline are exchangeable in each cluster, given
    the others, every sum of a cluster's differences is as likely with the other sign. The
    p-value is ``P(T >= t)`` over all 2^C flips (not the mid-p), t being the sum as it is, so
    ``P(p <= alpha) <= alpha`` for every alpha, n, and distribution of the differences.

    T is the sum over clusters of their sums, each rounded to a whole number of steps: at
    least 64 steps for the mean size, thousands where clusters are few. The rounding turns
    with the sign and is part of the statistic, which is why the level stays exact; from that
    of the sum as it is, p differs by a few percent of itself, and in either direction. Sums
    that tie, as differences of hits do, stay tied where all sizes are multiples of one.

    Args:
        differences: float64 ``[N]``, candidate less baseline, positive where the candidate
            is worse.
        clusters: The cluster of each difference, ``[N]``.

    Returns:
        Above 0, at most 1; 1 where no difference is left in any cluster.

    Raises:
        ValueError: There is no difference, one is not finite, or the lengths differ.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"differences have shape {list(values.shape)}; they are a list, not empty")
    if len(clusters) != len(values):
        raise ValueError(f"{len(clusters)} clusters for {len(values)} differences")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ValueError(f"difference {bad[0]} is {values[bad[0]]}; differences are finite")
    _, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    largest = np.abs(values).max()
    return tail(cluster_sums(values / largest if largest else values, cluster))


def cluster_sums(values: Values, cluster: NDArray[np.int64]) -> Values:
    """The sum of each cluster's values: float64 ``[C]``; 0 where they cancel but for rounding."""
    sums = np.bincount(cluster, weights=values)
    sizes = np.bincount(cluster, weights=np.abs(values))
    return np.where(np.abs(sums) > _NOTHING * sizes, sums, 0)


def tail(sums: Values) -> float:
    """The p-value of clusters' sums, float64 ``[C]``, finite; see :func:`sign_flip_test`."""
    steps = whole_steps(sums)
    sizes = np.sort(np.abs(steps[steps != 0]))
    # T >= t exactly where the sizes that turn negative add up to no more than they do now.
    negative, total = int(-steps[steps < 0].sum()), int(sizes.sum())
    # The shares are symmetric about half the total: the shorter side is counted.
    if 2 * negative < total:
        p = _share_up_to(sizes, negative)
    else:
        p = 1 - _share_up_to(sizes, total - negative - 1)
    return max(p, _SMALLEST)


def whole_steps(sums: Values) -> NDArray[np.int64]:
    """The sums as whole numbers of a step that flipping signs does not change: int64 ``[C]``."""
    sizes = np.abs(sums)
    n = np.count_nonzero(sizes)
    if n == 0:
        return np.zeros(len(sums), dtype=np.int64)
    steps = max(min(_WORK // n, _MOST_STEPS), _FINENESS * n)
    step = _fitting(sizes[sizes > 0].min(), sizes.sum() / steps)
    # Equal sums differ in their last bits: halfway between two steps they must not part.
    whole = np.floor(sizes / step + 0.5 + 1e-9).astype(np.int64)
    return np.asarray(np.where(sums < 0, -whole, whole))


def _fitting(smallest: float, step: float) -> float:
    """A step that fits the smallest size evenly, so that its whole multiples stay such.

    Differences of hits are multiples of one size, and their sums tie; rounded to just any
    step, 1 and 1 would not be 2. Sixty times a step is also 2, 3, 4, 5 or 6 equal parts.
    It is at least half as long as the step given.
    """
    parts = math.ceil(smallest / step - 1e-9)
    if parts <= 1:  # no longer than a step: it is rounded like any other
        return step
    return float(smallest / (60 * math.ceil(parts / 60) if parts > 60 else parts))  # noqa: PLR2004


def _share_up_to(sizes: NDArray[np.int64], limit: int) -> float:
    """The share of all the subsets of rising sizes whose sum is at most a limit."""
    if limit < 0:
        return 0.0
    counts = np.zeros(limit + 1)
    counts[0] = 1
    reach = 0
    for done, size in enumerate(sizes.tolist(), start=1):
        reach = min(reach + size, limit)
        if size <= limit:
            counts[size : reach + 1] += counts[: reach + 1 - size]
        # Counts become shares from time to time, or they would overflow.
        if done % 256 == 0:
            counts *= 2.0**-256
    return float(np.ldexp(counts.sum(), -(len(sizes) % 256)))


def holm(p_values: ArrayLike) -> Values:
    """Holm's adjusted p-values: rejecting those up to alpha keeps the family-wise level.

    The i-th smallest of m is multiplied by m - i + 1, made no smaller than those before it,
    and cut at 1 (Holm 1979, Scandinavian Journal of Statistics 6; Wright 1992). No
    assumption is made of how the tests depend on each other.

    Args:
        p_values: float64 ``[m]``, 0 to 1.

    Returns:
        float64 ``[m]``, in the order given; equal p-values get equal adjusted ones.

    Raises:
        ValueError: A value is not from 0 to 1, or they are not a list.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1:
        raise ValueError(f"p-values have shape {list(p.shape)}; they are a list")
    bad = np.flatnonzero(~((p >= 0) & (p <= 1)))
    if bad.size:
        raise ValueError(f"p-value {bad[0]} is {p[bad[0]]}; p-values are from 0 to 1")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted
