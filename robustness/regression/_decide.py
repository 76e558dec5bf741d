"""Decisions from paired comparisons: regression, non-inferiority, smallest detectable drop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from robustness.regression._compare import NORMAL, PairedComparison
from robustness.regression._signflip import holm
from robustness.thresholds import ALPHA, MARGIN, NON_INFERIORITY_ALPHA

POWER = 0.8
"""Power of the smallest detectable drop."""


def adjust(comparisons: Sequence[PairedComparison]) -> tuple[PairedComparison, ...]:
    """Adjust the p-values of all comparisons of a run by Holm's step-down."""
    adjusted = holm([comparison.p for comparison in comparisons])
    return tuple(
        replace(comparison, adjusted_p=float(p))
        for comparison, p in zip(comparisons, adjusted, strict=True)
    )


def regressed(
    comparison: PairedComparison, *, alpha: float = ALPHA, margin: float = MARGIN
) -> bool:
    """Return True if the candidate is significantly worse, by more than the margin.

    Args:
        comparison: A comparison from :func:`adjust`.
        alpha: Family-wise level over all comparisons of the run.
        margin: Tolerated drop of hit@k, as a fraction.

    Raises:
        ValueError: If the p-value is not adjusted, alpha is not between 0 and 0.5, or the
            margin is not from 0 to below 1.
    """
    if comparison.adjusted_p is None:
        raise ValueError(
            "the p-value is not adjusted; call adjust() with all comparisons of the run"
        )
    _require(alpha, margin)
    return comparison.adjusted_p <= alpha and comparison.drop > margin


def non_inferior(
    comparison: PairedComparison,
    *,
    cases: int,
    alpha: float = NON_INFERIORITY_ALPHA,
    margin: float = MARGIN,
) -> bool:
    """Return True if a drop as large as the margin is excluded.

    The upper limits of all comparisons are simultaneous at confidence ``1 - alpha``: each is
    one-sided at ``alpha / cases`` (Bonferroni).

    Args:
        comparison: A comparison.
        cases: Number of comparisons in the run.
        alpha: Family-wise level over all comparisons of the run.
        margin: Drop of hit@k to exclude, as a fraction.

    Raises:
        ValueError: If alpha is not between 0 and 0.5, the margin is not from 0 to below 1, or
            ``cases`` is below 1.
    """
    _require(alpha, margin, cases)
    return upper_limit(comparison, cases=cases, alpha=alpha) < margin


def upper_limit(
    comparison: PairedComparison, *, cases: int, alpha: float = NON_INFERIORITY_ALPHA
) -> float:
    """Return the upper limit of the drop, simultaneous over all comparisons (Bonferroni)."""
    return comparison.upper_limit(alpha / cases)


def smallest_drop(
    comparison: PairedComparison,
    *,
    cases: int,
    alpha: float = ALPHA,
    margin: float = MARGIN,
    power: float = POWER,
) -> float:
    """Return the smallest drop of hit@k that this comparison could detect with given power.

    A candidate whose true hit@k is d lower in one comparison fails if both events occur:

    - The test rejects at the first step of Holm, ``alpha / cases``.
    - The observed drop exceeds the margin.

    The rise of the log ranks for a drop d is unknown, so it is modelled: a fraction c of the
    clusters rises by r = ``half_loss_rise``, which costs half of their hits, so that
    ``c = 2 d / baseline_hit``. With w = ``sum_squared_weights``, the mean log rank rises by
    ``c r`` with variance ``s^2 = flip_standard_error^2 + w c r^2``, and the drop has variance
    ``e^2 = standard_error^2 + w d``. Both statistics are nearly normal, so the events have
    probability ``Phi(c r / s - z(1 - alpha / cases))`` and ``Phi((d - margin) / e)``. (Equal
    rises of all log ranks would be far too optimistic: the first argument triples.)

    The events are positively correlated, so their joint probability is at least the product
    (Slepian 1962). The result is the smallest d whose product reaches the power, for
    candidates that differ from the baseline as much as this one.

    Args:
        comparison: A comparison.
        cases: Number of comparisons in the run.
        alpha: Family-wise level over all comparisons of the run.
        margin: Tolerated drop of hit@k, as a fraction.
        power: Probability of detecting the drop, between 0 and 1.

    Returns:
        A fraction; inf if no drop could be detected.

    Raises:
        ValueError: As for :func:`non_inferior`, or if the power is not between 0 and 1.
    """
    _require(alpha, margin, cases)
    if not 0 < power < 1:
        raise ValueError(f"power is {power}; it must be between 0 and 1")
    # One cluster has no standard error, and a baseline without hits has none to lose.
    if math.isinf(comparison.standard_error) or not (
        comparison.half_loss_rise and comparison.baseline_hit
    ):
        return math.inf
    critical = -NORMAL.inv_cdf(alpha / cases)

    def detection_probability(drop: float) -> float:
        share = min(2 * drop / comparison.baseline_hit, 1.0)
        error = math.sqrt(
            comparison.flip_standard_error**2
            + comparison.sum_squared_weights * share * comparison.half_loss_rise**2
        )
        rejects = NORMAL.cdf(share * comparison.half_loss_rise / error - critical)
        spread = math.sqrt(comparison.standard_error**2 + comparison.sum_squared_weights * drop)
        exceeds = NORMAL.cdf((drop - margin) / spread)
        return rejects * exceeds

    low, high = 0.0, comparison.baseline_hit
    if detection_probability(high) < power:
        return math.inf
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if detection_probability(middle) >= power else (middle, high)
    return high


def _require(alpha: float, margin: float, cases: int = 1) -> None:
    if not 0 < alpha < 0.5:  # noqa: PLR2004 - above, the upper limit is below the estimate
        raise ValueError(f"alpha is {alpha}; it must be between 0 and 0.5")
    if not 0 <= margin < 1:
        raise ValueError(f"margin is {margin}; it must be a fraction from 0 to below 1")
    if cases < 1:
        raise ValueError(f"there are {cases} cases; at least one is required")
