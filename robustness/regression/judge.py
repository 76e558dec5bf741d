"""Judgement of a comparison with a baseline."""

from __future__ import annotations

import math

from robustness._util.text import counted, points
from robustness.regression import PairedComparison, non_inferior, regressed, upper_limit
from robustness.thresholds import Regression
from robustness.verdict.reasons import PASSED, Judgement, Reason, Verdict


def judge_regression(
    comparison: PairedComparison,
    settings: Regression,
    *,
    cases: int,
    gallery: float = math.inf,
) -> Judgement:
    """Judge one comparison with a baseline by the tolerated drop.

    Args:
        comparison: The comparison, its p-value adjusted.
        settings: The mode, the margin and the level.
        cases: Number of comparisons in the run.
        gallery: Number of items that the smaller direction ranks.
    """
    alpha, margin = settings.family_alpha, settings.margin
    if why := _vacuous_reason(comparison, settings, cases, gallery):
        return Judgement(Verdict.FAIL, Reason.COMPARISON_VACUOUS, why)
    if settings.mode == "non_inferiority":
        if non_inferior(comparison, cases=cases, alpha=alpha, margin=margin):
            return PASSED
        upper = upper_limit(comparison, cases=cases, alpha=alpha)
        return Judgement(
            Verdict.FAIL,
            Reason.INFERIORITY_NOT_EXCLUDED,
            f"{settings.metric} fell by {points(comparison.drop)}, and a drop of up to"
            f" {points(upper)} is not excluded; tolerated: {points(margin)}",
        )
    if not regressed(comparison, alpha=alpha, margin=margin):
        return PASSED
    low, high = comparison.limits()
    return Judgement(
        Verdict.FAIL,
        Reason.REGRESSION,
        f"{settings.metric} fell by {points(comparison.drop)} [{100 * low:.1f}, {100 * high:.1f}],"
        f" tolerated: {points(margin)}; p = {comparison.adjusted_p:.2g} (sign flips, Holm over"
        f" {counted(cases, 'comparison')}), level {alpha:g}",
    )


def _vacuous_reason(
    comparison: PairedComparison, settings: Regression, cases: int, gallery: float
) -> str:
    """Return why no candidate, however bad, could fail; empty if one could."""
    cutoff = int(settings.metric.partition("@")[2])
    if cutoff >= gallery:
        return (
            f"{settings.metric} is 1 for every model with a gallery of {int(gallery)}; compare a"
            " metric with a smaller cutoff, or use a larger set"
        )
    alpha = settings.family_alpha
    # The smallest p-value of sign flips is that of equal signs, and Holm multiplies it.
    needed = math.ceil(math.log2(cases / alpha))
    if settings.mode == "regression" and comparison.clusters < needed:
        return (
            f"{counted(comparison.clusters, 'patient')} (those with a common report text count as"
            f" one) are too few to show any drop in {counted(cases, 'comparison')} at level"
            f" {alpha:g}; {needed} are needed"
        )
    return ""
