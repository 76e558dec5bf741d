"""The one place that decides; exit status, terminal and files all read its verdicts.

What was not measured never passes: an unknown value, a cell without a bound, a case that
did not run are failures with a reason of their own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from robustness._util.text import counted
from robustness.errors import REFUSALS, GateError, WeightsNotFoundError
from robustness.metrics import LABEL_MEANS, RANGES
from robustness.metrics.bootstrap import Estimate
from robustness.regression import PairedComparison, non_inferior, regressed, upper_limit
from robustness.thresholds import CHANCE, LOWER_IS_BETTER, Bound, References, Regression
from robustness.verdict.reasons import FINDINGS, PASSED, Judgement, Reason, Verdict


def judge(
    estimates: Mapping[str, Estimate],
    bounds: Sequence[Bound],
    references: References | None = None,
    *,
    gallery: float = math.inf,
) -> Judgement:
    """Holds the metrics of one cell against its bounds.

    The value itself is compared, not its interval: the interval tells how far another
    draw of studies might have moved it.

    Args:
        estimates: Every metric of the cell.
        bounds: What is required of it.
        references: The metrics of chance and of the other models that bounds refer to.
        gallery: How many items are ranked.
    """
    if not bounds:
        return Judgement(
            Verdict.FAIL, Reason.NO_BOUND, "no bound applies; add one to the thresholds file"
        )
    limits = {bound: bound.against(references or {}) for bound in bounds}
    unknown = [bound for bound in bounds if not _known(estimates, bound.metric)]
    if unknown:
        names = ", ".join(bound.metric for bound in unknown)
        reason, why = _why_unknown(estimates, unknown)
        return Judgement(
            Verdict.FAIL,
            reason,
            f"{names} is not a number here{why}, so bound {unknown[0]} (line {unknown[0].line})"
            " cannot be held",
        )
    adrift = [bound for bound, limit in limits.items() if not math.isfinite(limit)]
    if adrift:
        return Judgement(
            Verdict.FAIL,
            Reason.REFERENCE_FAILED,
            f"{adrift[0].metric} of {adrift[0].reference} is not a number here, so bound"
            f" {adrift[0]} (line {adrift[0].line}) cannot be held",
        )
    vacuous = [bound for bound in bounds if _vacuous(bound.metric, references or {}, gallery)]
    if vacuous:
        return Judgement(
            Verdict.FAIL,
            Reason.BOUND_VACUOUS,
            f"{vacuous[0].metric} is the same whatever the model answers, so few items there are"
            f" to find; bound {vacuous[0]} (line {vacuous[0].line}) holds nothing",
        )
    missed = [
        bound
        for bound, limit in limits.items()
        if bound.margin(estimates[bound.metric].value, limit) < 0
    ]
    if missed:
        texts = [describe_miss(estimates[bound.metric], bound, limits[bound]) for bound in missed]
        return Judgement(Verdict.FAIL, Reason.BOUND_MISSED, "; ".join(texts))
    return PASSED


def _vacuous(metric: str, references: References, gallery: float) -> bool:
    """Whether guessing does as well as can be done: hit@10 among ten items is 1."""
    name, _, cutoff = metric.partition("@")
    if name == "precision" and int(cutoff) >= gallery:
        return True
    low, high = RANGES[metric]
    best = low if metric in LOWER_IS_BETTER else high
    return references.get(CHANCE, {}).get(metric) == best


def _known(estimates: Mapping[str, Estimate], metric: str) -> bool:
    return metric in estimates and math.isfinite(estimates[metric].value)


def _why_unknown(estimates: Mapping[str, Estimate], bounds: Sequence[Bound]) -> tuple[Reason, str]:
    bare = {bound.metric.removeprefix("retention(").removesuffix(")") for bound in bounds}
    if any(metric in LABEL_MEANS and not _known(estimates, metric) for metric in bare):
        why = " (labels tell no two images of this evaluation set apart)"
        return Reason.NO_LABELS, why
    if any(bound.metric.startswith("retention") for bound in bounds):
        return Reason.NOT_FINITE, " (the clean model is no better than chance)"
    return Reason.NOT_FINITE, ""


def describe_miss(estimate: Estimate, bound: Bound, limit: float) -> str:
    """A missed bound: observed with interval, the bound and its line, by how much."""
    number = "" if bound.reference is None else f" = {limit:.3f}"
    low, high = ("-" if math.isnan(end) else f"{end:.3f}" for end in (estimate.low, estimate.high))
    return (
        f"{bound.metric} is {estimate.value:.3f} [{low}, {high}],"
        f" bound {bound.demand}{number} (line {bound.line}),"
        f" missed by {-bound.margin(estimate.value, limit):.3f}"
    )


def judge_regression(
    found: PairedComparison, settings: Regression, *, cases: int, gallery: float = math.inf
) -> Judgement:
    """Holds one case's comparison with a baseline against what is tolerated.

    Args:
        found: The comparison, its p-value adjusted.
        settings: The mode, the margin and the level.
        cases: How many cases the run compares.
        gallery: How many items the smaller direction ranks.
    """
    alpha, margin = settings.family_alpha, settings.margin
    if why := _undecidable(found, settings, cases, gallery):
        return Judgement(Verdict.FAIL, Reason.COMPARISON_VACUOUS, why)
    if settings.mode == "non_inferiority":
        if non_inferior(found, cases=cases, alpha=alpha, margin=margin):
            return PASSED
        upper = upper_limit(found, cases=cases, alpha=alpha)
        return Judgement(
            Verdict.FAIL,
            Reason.INFERIORITY_NOT_EXCLUDED,
            f"{settings.metric} fell by {points(found.drop)}, and a fall of up to"
            f" {points(upper)} is not excluded; tolerated is {points(margin)}",
        )
    if not regressed(found, alpha=alpha, margin=margin):
        return PASSED
    low, high = found.limits()
    return Judgement(
        Verdict.FAIL,
        Reason.REGRESSION,
        f"{settings.metric} fell by {points(found.drop)} [{100 * low:.1f}, {100 * high:.1f}],"
        f" tolerated is {points(margin)}; p = {found.adjusted_p:.2g} (sign flips, Holm over"
        f" {counted(cases, 'case')}), level {alpha:g}",
    )


def _undecidable(found: PairedComparison, settings: Regression, cases: int, gallery: float) -> str:
    """Why no candidate, however bad, would have failed; empty where one would have."""
    cutoff = int(settings.metric.partition("@")[2])
    if cutoff >= gallery:
        return (
            f"{settings.metric} among {counted(int(gallery), 'item')} is 1 whatever the model"
            " answers; compare by a smaller cutoff, or on a larger set"
        )
    alpha = settings.family_alpha
    # The least p-value of sign flips is that of all signs alike, and Holm multiplies it.
    needed = math.ceil(math.log2(cases / alpha))
    if settings.mode == "regression" and found.clusters < needed:
        return (
            f"{counted(found.clusters, 'patient')}, counted as one where they share a report text,"
            f" cannot show a fall in {counted(cases, 'case')} at level {alpha:g}, however deep; it"
            f" takes {needed}"
        )
    return ""


def points(share: float) -> str:
    """A difference of fractions as a person reads it, such as ``1.4 points``."""
    text = f"{100 * share:.1f}".removesuffix(".0")
    return f"{text} point" if text == "1" else f"{text} points"


MEASURED = "measurements and properties"
"""What a run judges, in words, where it is held against no baseline."""


def judge_run(judgements: Iterable[Judgement], what: str = MEASURED) -> Judgement:
    """The verdict of a run over everything it planned: cells, properties and comparisons.

    A run passes where nothing failed and something was measured. What is not measured
    counts as failed, but for optional models whose weights are absent. The run's reason is
    that of its first failure to measure as it should; else of the first finding of a fair
    measurement; else of the first that was not measured.

    Args:
        judgements: Over each of them.
        what: What they are over, for a person.
    """
    judged = list(judgements)
    counts = Counter(judgement.verdict for judgement in judged)
    summary = (
        f"{what}: {counts[Verdict.PASS]} passed,"
        f" {counts[Verdict.FAIL]} failed,"
        f" {counts[Verdict.NOT_MEASURED]} not measured"
    )
    if amiss := [judgement for judgement in judged if _counts_against(judgement)]:
        return Judgement(Verdict.FAIL, min(amiss, key=_gravity).reason, summary)
    if not counts[Verdict.PASS]:
        return Judgement(Verdict.FAIL, Reason.NOTHING_MEASURED, f"nothing was measured: {summary}")
    return Judgement(Verdict.PASS, Reason.OK, summary)


def _counts_against(judgement: Judgement) -> bool:
    excused = judgement.reason is Reason.WEIGHTS_ABSENT
    return judgement.verdict is Verdict.FAIL or (
        judgement.verdict is Verdict.NOT_MEASURED and not excused
    )


def _gravity(judgement: Judgement) -> tuple[bool, bool]:
    """Least for what explains the others: a missed bound says little where order is mixed up."""
    return judgement.verdict is not Verdict.FAIL, judgement.reason in FINDINGS


def judge_failure(error: GateError, *, optional: bool) -> Judgement:
    """The verdict over what an error kept from being measured."""
    message = str(error)
    if isinstance(error, WeightsNotFoundError) and optional:
        return Judgement(Verdict.NOT_MEASURED, Reason.WEIGHTS_ABSENT, message)
    # Options that turn out to be wrong only when the model or the set is loaded.
    reason = Reason.MODEL_FAILED if error.code in REFUSALS else error.code
    return Judgement(Verdict.FAIL, reason, message)
