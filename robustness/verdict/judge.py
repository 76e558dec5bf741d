"""The only module that decides; exit status, terminal and files read its verdicts.

A result that was not measured never passes: an unknown value, a measurement without a bound and
a case that did not run fail, each with its own reason.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from robustness.errors import REFUSALS, GateError, WeightsNotFoundError
from robustness.metrics import LABEL_MEANS, RANGES
from robustness.metrics.bootstrap import Estimate
from robustness.thresholds import CHANCE, LOWER_IS_BETTER, Bound, References
from robustness.verdict.reasons import FINDINGS, PASSED, Judgement, Reason, Verdict


def judge(
    estimates: Mapping[str, Estimate],
    bounds: Sequence[Bound],
    references: References | None = None,
    *,
    gallery: float = math.inf,
) -> Judgement:
    """Judge the metrics of one measurement by its bounds.

    The value itself is compared, not its interval: the interval shows how much the value would
    vary with another sample of studies.

    Args:
        estimates: Every metric of the measurement.
        bounds: The bounds that apply to it.
        references: The metrics of chance and of the other models that bounds refer to.
        gallery: Number of ranked items.
    """
    if not bounds:
        return _failure(Reason.NO_BOUND, "no bound applies; add one to the thresholds file")
    references = references or {}
    limits = {bound: bound.against(references) for bound in bounds}
    unknown = [bound for bound in bounds if not _known(estimates, bound.metric)]
    if unknown:
        names = ", ".join(bound.metric for bound in unknown)
        reason, why = _why_unknown(estimates, unknown)
        text = f"{names} is not a number here{why}, so {_cited(unknown[0])} cannot be checked"
        return _failure(reason, text)
    for bound, limit in limits.items():
        if not math.isfinite(limit):
            return _failure(
                Reason.REFERENCE_FAILED,
                f"{bound.metric} of {bound.reference} is not a number here, so {_cited(bound)}"
                " cannot be checked",
            )
    for bound in bounds:
        if _vacuous(bound.metric, references, gallery):
            return _failure(
                Reason.BOUND_VACUOUS,
                f"{_cited(bound)} is vacuous: {bound.metric} is the same for every model with a"
                f" gallery of {gallery:g}",
            )
    missed = [
        _describe_miss(estimates[bound.metric], bound, limit)
        for bound, limit in limits.items()
        if bound.margin(estimates[bound.metric].value, limit) < 0
    ]
    return _failure(Reason.BOUND_MISSED, "; ".join(missed)) if missed else PASSED


def _failure(reason: Reason, message: str) -> Judgement:
    return Judgement(Verdict.FAIL, reason, message)


def _cited(bound: Bound) -> str:
    return f"bound {bound} (line {bound.line})"


def _vacuous(metric: str, references: References, gallery: float) -> bool:
    """Return True if guessing reaches the best possible value, as hit@10 among ten items."""
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
        return Reason.NO_LABELS, " (no labels distinguish two images of this evaluation set)"
    if any(bound.metric.startswith("retention") for bound in bounds):
        return Reason.NOT_FINITE, " (the clean model is no better than chance)"
    return Reason.NOT_FINITE, ""


def _describe_miss(estimate: Estimate, bound: Bound, limit: float) -> str:
    """Return the value with its interval, the bound and its line, and the difference."""
    number = "" if bound.reference is None else f" = {limit:.3f}"
    low, high = ("-" if math.isnan(end) else f"{end:.3f}" for end in (estimate.low, estimate.high))
    return (
        f"{bound.metric} is {estimate.value:.3f} [{low}, {high}],"
        f" bound {bound.demand}{number} (line {bound.line}),"
        f" missed by {-bound.margin(estimate.value, limit):.3f}"
    )


MEASURED = "measurements and properties"
"""The items that a run without a comparison judges, in words."""


def judge_run(judgements: Iterable[Judgement], what: str = MEASURED) -> Judgement:
    """Return the verdict of a run over all planned measurements, properties and comparisons.

    A run passes if nothing failed and something was measured. An item that was not measured
    counts as failed, except for optional models without weights. The run's reason is that of
    the first measurement error; else of the first finding about a model; else of the first item
    that was not measured.

    Args:
        judgements: One per item.
        what: The kinds of items, for the message.
    """
    judged = list(judgements)
    counts = Counter(judgement.verdict for judgement in judged)
    summary = (
        f"{what}: {counts[Verdict.PASS]} passed,"
        f" {counts[Verdict.FAIL]} failed,"
        f" {counts[Verdict.NOT_MEASURED]} not measured"
    )
    if failures := [judgement for judgement in judged if _counts_as_failed(judgement)]:
        return _failure(min(failures, key=_priority).reason, summary)
    if not counts[Verdict.PASS]:
        return _failure(Reason.NOTHING_MEASURED, f"nothing was measured: {summary}")
    return Judgement(Verdict.PASS, Reason.OK, summary)


def _counts_as_failed(judgement: Judgement) -> bool:
    excused = judgement.reason is Reason.WEIGHTS_ABSENT
    return judgement.failed or (judgement.verdict is Verdict.NOT_MEASURED and not excused)


def _priority(judgement: Judgement) -> tuple[bool, bool]:
    """Return the sort key: measurement errors before model findings, which they may explain."""
    return not judgement.failed, judgement.reason in FINDINGS


def judge_failure(error: GateError, *, optional: bool) -> Judgement:
    """Return the judgement of everything that an error prevented from being measured.

    Args:
        error: The error.
        optional: True if the model's weights may be missing.
    """
    message = str(error)
    if isinstance(error, WeightsNotFoundError) and optional:
        return Judgement(Verdict.NOT_MEASURED, Reason.WEIGHTS_ABSENT, message)
    # Some invalid options are only noticed when the model or the set is loaded.
    reason = Reason.MODEL_FAILED if error.code in REFUSALS else error.code
    return _failure(reason, message)
