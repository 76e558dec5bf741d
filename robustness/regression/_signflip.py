"""Exact one-sided sign-flip (randomisation) test, and Holm's step-down.

Holm over 32 comparisons needs p-values near 1e-7, out of reach of random flips. So none are
drawn: the statistic is rounded to integer steps, and the distribution of the integer sum under
all sign flips is counted exactly. Rounding changes the statistic slightly; the level of the
test stays exact for any rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robustness.metrics.rank_counts import Values

_MIN_STEPS_PER_CLUSTER = 64
"""Minimum number of steps in the mean size of a cluster's sum."""

_MAX_ADDITIONS = 2**26
"""Maximum additions per test (about 20 ms), unless that makes steps too coarse."""

_MAX_STEPS = 2**17
"""Maximum number of steps in the sum of all sizes if clusters are few (1 MiB of counts)."""

_CANCELLATION_TOLERANCE = 1e-12
"""Rounding error of differences that cancel, relative to the sum of their sizes."""

_MIN_P = float(np.finfo(np.float64).tiny)


def sign_flip_test(differences: ArrayLike, clusters: Sequence[object] | NDArray[np.int64]) -> float:
    """Return the exact one-sided p-value of a sign-flip test over clusters.

    Under the null hypothesis, candidate and baseline are exchangeable within each cluster, so
    each cluster's sum of differences is equally likely with the opposite sign. The p-value is
    ``P(T >= t)`` over all 2^C flips (not the mid-p), with t the observed sum, so
    ``P(p <= alpha) <= alpha`` for every alpha, n and distribution of the differences.

    T is the sum of the cluster sums, each rounded to an integer number of steps: at least 64
    steps for the mean size, thousands if clusters are few. The rounding is symmetric in the
    sign and part of the statistic, so the level stays exact; p differs from that of the
    unrounded sum by a few percent, in either direction. Tied sums, as differences of hits
    give, stay tied if all sizes are multiples of one size.

    Args:
        differences: float64 ``[N]``, candidate minus baseline, positive if the candidate is
            worse.
        clusters: The cluster of each difference, ``[N]``.

    Returns:
        Above 0, at most 1; 1 if all cluster sums are 0.

    Raises:
        ValueError: If there is no difference, one is not finite, or the lengths differ.

    Example:
        >>> sign_flip_test([0.3, 0.1, 0.2], clusters=["a", "b", "c"])  # 1 of 2^3 sign patterns
        0.125
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(
            f"differences have shape {list(values.shape)}; expected a list with at least one value"
        )
    if len(clusters) != len(values):
        raise ValueError(f"{len(clusters)} clusters for {len(values)} differences")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ValueError(f"difference {bad[0]} is {values[bad[0]]}; differences must be finite")
    _, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    largest = np.abs(values).max()
    return tail(cluster_sums(values / largest if largest else values, cluster))


def cluster_sums(values: Values, cluster: NDArray[np.int64]) -> Values:
    """Return each cluster's sum, float64 ``[C]``; exactly 0 if it is only rounding error."""
    sums = np.bincount(cluster, weights=values)
    sizes = np.bincount(cluster, weights=np.abs(values))
    return np.where(np.abs(sums) > _CANCELLATION_TOLERANCE * sizes, sums, 0)


def tail(sums: Values) -> float:
    """Return the p-value of finite cluster sums, float64 ``[C]``; see :func:`sign_flip_test`."""
    steps = whole_steps(sums)
    sizes = np.sort(np.abs(steps[steps != 0]))
    # T >= t if and only if the sizes with negative sign add up to at most the observed sum.
    negative, total = int(-steps[steps < 0].sum()), int(sizes.sum())
    # The distribution is symmetric about half the total, so count the shorter side.
    if 2 * negative < total:
        p = _fraction_up_to(sizes, negative)
    else:
        p = 1 - _fraction_up_to(sizes, total - negative - 1)
    return max(p, _MIN_P)


def whole_steps(sums: Values) -> NDArray[np.int64]:
    """Round sums to integer multiples of a step that is invariant to sign flips: int64 ``[C]``."""
    sizes = np.abs(sums)
    n = np.count_nonzero(sizes)
    if n == 0:
        return np.zeros(len(sums), dtype=np.int64)
    steps = max(min(_MAX_ADDITIONS // n, _MAX_STEPS), _MIN_STEPS_PER_CLUSTER * n)
    step = _fitting(sizes[sizes > 0].min(), sizes.sum() / steps)
    # Equal sums may differ in their last bits: round halves up so that they stay equal.
    whole = np.floor(sizes / step + 0.5 + 1e-9).astype(np.int64)
    return np.asarray(np.where(sums < 0, -whole, whole))


def _fitting(smallest: float, step: float) -> float:
    """Return a step that divides the smallest size, so that its integer multiples stay exact.

    Differences of hits are multiples of one size, and their sums tie; with an arbitrary step
    1 + 1 would not round to 2. A multiple of 60 steps also divides into 2, 3, 4, 5 or 6 equal
    parts. The result is between half of the given step and the step.
    """
    parts = math.ceil(smallest / step - 1e-9)
    if parts <= 1:  # the smallest size is below one step and is rounded like any other
        return step
    return float(smallest / (60 * math.ceil(parts / 60) if parts > 60 else parts))  # noqa: PLR2004


def _fraction_up_to(sizes: NDArray[np.int64], limit: int) -> float:
    """Return the fraction of all subsets of ascending sizes with a sum of at most ``limit``."""
    if limit < 0:
        return 0.0
    counts = np.zeros(limit + 1)
    counts[0] = 1
    reach = 0
    for done, size in enumerate(sizes.tolist(), start=1):
        reach = min(reach + size, limit)
        if size <= limit:
            counts[size : reach + 1] += counts[: reach + 1 - size]
        # Rescale counts to fractions before they overflow.
        if done % 256 == 0:
            counts *= 2.0**-256
    return float(np.ldexp(counts.sum(), -(len(sizes) % 256)))


def holm(p_values: ArrayLike) -> Values:
    """Return Holm's adjusted p-values; rejecting those up to alpha keeps the family-wise level.

    The i-th smallest of m p-values is multiplied by m - i + 1, made monotone, and capped at 1
    (Holm 1979, Scandinavian Journal of Statistics 6; Wright 1992). The tests may be dependent
    in any way.

    Args:
        p_values: float64 ``[m]``, 0 to 1.

    Returns:
        float64 ``[m]``, in input order; equal p-values get equal adjusted ones.

    Raises:
        ValueError: If a value is not from 0 to 1, or the input is not a list.

    Example:
        >>> holm([0.01, 0.04, 0.03]).round(6).tolist()
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1:
        raise ValueError(f"p-values have shape {list(p.shape)}; expected a list")
    bad = np.flatnonzero(~((p >= 0) & (p <= 1)))
    if bad.size:
        raise ValueError(f"p-value {bad[0]} is {p[bad[0]]}; p-values must be from 0 to 1")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted
