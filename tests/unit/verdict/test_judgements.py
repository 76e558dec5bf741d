"""Judgements: every message in full, every cause of an unknown value, every count."""

from __future__ import annotations

import math
from itertools import permutations

import pytest

from robustness.errors import (
    EmbeddingError,
    EvaluationSetError,
    UsageError,
    WeightsError,
    WeightsNotFoundError,
)
from robustness.metrics import LABEL_MEANS
from robustness.metrics.bootstrap import Estimate
from robustness.thresholds import Bound
from robustness.verdict.judge import judge, judge_failure, judge_run
from robustness.verdict.reasons import Judgement, Reason, Verdict

HIT = Bound("hit@10", at_least=True, limit=0.8, line=7)
RANK = Bound("median_rank", at_least=False, limit=5, line=9)
LABELS = "no labels distinguish two images of this evaluation set"


def estimates(**values):
    return {
        name.replace("_at_", "@"): Estimate(value, value - 0.1, value + 0.1)
        for name, value in values.items()
    }


# --- a measurement ------------------------------------------------------------------------------


def test_no_bound_says_what_to_do():
    assert judge(estimates(hit_at_10=1.0), []).message == (
        "no bound applies; add one to the thresholds file"
    )


def test_unknown_values_are_all_named_and_the_first_bound_with_its_line():
    judgement = judge({"mrr": Estimate(0.5, 0.4, 0.6)}, [HIT, RANK])
    assert judgement.reason is Reason.NOT_FINITE
    assert judgement.message == (
        "hit@10, median_rank is not a number here, so bound hit@10 >= 0.8 (line 7) cannot be"
        " checked"
    )


@pytest.mark.parametrize("metric", LABEL_MEANS)
@pytest.mark.parametrize("form", ["{}", "retention({})"])
def test_without_labels_the_labels_are_the_reason(metric, form):
    name = form.format(metric)
    unknown = Estimate(math.nan, math.nan, math.nan)
    judgement = judge({metric: unknown, name: unknown}, [Bound(name, True, 0.5, 3)])
    assert (judgement.verdict, judgement.reason) == (Verdict.FAIL, Reason.NO_LABELS)
    assert judgement.message == (
        f"{name} is not a number here ({LABELS}), so bound {name} >= 0.5 (line 3) cannot be checked"
    )


def test_with_labels_unknown_retention_is_the_clean_model_s():
    """The metric itself is known: the model retrieves no better than chance."""
    name = "retention(ndcg@10)"
    seen = {"ndcg@10": Estimate(0.2, 0.1, 0.3), name: Estimate(math.nan, math.nan, math.nan)}
    judgement = judge(seen, [Bound(name, True, 0.5, 3)])
    assert judgement.reason is Reason.NOT_FINITE
    assert judgement.message == (
        f"{name} is not a number here (the clean model is no better than chance), so bound"
        f" {name} >= 0.5 (line 3) cannot be checked"
    )


def test_missed_bounds_are_said_one_after_the_other():
    judgement = judge(estimates(hit_at_10=0.7, median_rank=6.0), [HIT, RANK])
    assert judgement == Judgement(
        Verdict.FAIL,
        Reason.BOUND_MISSED,
        "hit@10 is 0.700 [0.600, 0.800], bound >= 0.8 (line 7), missed by 0.100;"
        " median_rank is 6.000 [5.900, 6.100], bound <= 5 (line 9), missed by 1.000",
    )


def test_a_bound_on_either_side_may_be_just_met():
    seen = estimates(hit_at_10=0.8, median_rank=5.0)
    assert judge(seen, [HIT, RANK]) == Judgement(Verdict.PASS, Reason.OK, "")


@pytest.mark.parametrize(
    ("metric", "best", "other"),
    [("hit@10", 1.0, 0.999), ("median_rank", 1.0, 1.5), ("rsum", 6.0, 5.9), ("hit@10", 1, 0)],
)
def test_a_metric_that_guessing_cannot_miss_holds_nothing(metric, best, other):
    """hit@10 among ten items is 1; the smallest median rank is 1."""
    bounds = [Bound("mrr", True, 0.1, 2), Bound(metric, True, 0.5, 3), Bound(metric, False, 9, 4)]
    seen = {name: Estimate(1.0, 1.0, 1.0) for name in ("mrr", metric)}
    judgement = judge(seen, bounds, {"chance": {metric: best, "mrr": 0.2}}, gallery=9)
    assert (judgement.verdict, judgement.reason) == (Verdict.FAIL, Reason.BOUND_VACUOUS)
    assert judgement.message == (
        f"bound {metric} >= 0.5 (line 3) is vacuous: {metric} is the same for every model with a"
        " gallery of 9"
    )
    alone = judge(seen, bounds[1:2], {"chance": {metric: best}})
    assert alone.reason is Reason.BOUND_VACUOUS
    assert judge(seen, bounds, {"chance": {metric: other}}).verdict is Verdict.PASS
    assert judge(seen, bounds, {"clip": {metric: best}}).verdict is Verdict.PASS


@pytest.mark.parametrize(("gallery", "vacuous"), [(9, True), (10, True), (11, False)])
def test_a_precision_over_all_items_holds_nothing(gallery, vacuous):
    """It is the share that agrees in the whole gallery, in whatever order."""
    bound = Bound("precision@10", at_least=True, limit=0.4, line=3)
    judgement = judge(estimates(precision_at_10=0.5), [bound], gallery=gallery)
    assert judgement.reason is (Reason.BOUND_VACUOUS if vacuous else Reason.OK)


@pytest.mark.parametrize("at_least", [True, False])
@pytest.mark.parametrize("limit", [0.5, 100000.5])
def test_a_value_that_misses_its_bound_by_rounding_is_on_it(at_least, limit):
    bound = Bound("median_rank", at_least, limit, line=3)
    side = -1 if at_least else 1
    assert bound.margin(limit * (1 + side * 1e-12)) == 0
    assert bound.margin(limit + side * 1.5e-9 * max(1, limit)) < 0
    assert bound.margin(limit * (1 - side * 1e-8)) > 0


# --- a run -------------------------------------------------------------------------------

PASS = Judgement(Verdict.PASS, Reason.OK)
MISSED = Judgement(Verdict.FAIL, Reason.BOUND_MISSED, "x")
BARE = Judgement(Verdict.FAIL, Reason.NO_BOUND, "x")
ABSENT = Judgement(Verdict.NOT_MEASURED, Reason.WEIGHTS_ABSENT, "x")
NOT_RUN = Judgement(Verdict.NOT_MEASURED, Reason.NOT_RUN, "x")


def test_a_run_counts_what_it_judged():
    parts = [PASS, MISSED, ABSENT, PASS, BARE, NOT_RUN, PASS, ABSENT, ABSENT, ABSENT]
    judgement = judge_run(parts)
    assert judgement.message == ("measurements and properties: 3 passed, 2 failed, 5 not measured")
    assert judge_run([PASS, PASS, ABSENT]) == Judgement(
        Verdict.PASS, Reason.OK, "measurements and properties: 2 passed, 0 failed, 1 not measured"
    )
    assert judge_run([ABSENT]).message == (
        "nothing was measured: measurements and properties: 0 passed, 0 failed, 1 not measured"
    )


FINDINGS = [
    Judgement(Verdict.FAIL, reason, "x")
    for reason in (
        Reason.BOUND_MISSED,
        Reason.NOT_FINITE,
        Reason.PROPERTY_BROKEN,
        Reason.REGRESSION,
        Reason.INFERIORITY_NOT_EXCLUDED,
    )
]
MISORDERED = Judgement(Verdict.FAIL, Reason.EMBEDDINGS_MISORDERED, "x")


@pytest.mark.parametrize("finding", FINDINGS, ids=[f.reason for f in FINDINGS])
def test_what_kept_from_measuring_is_the_reason_before_what_was_found(finding):
    for parts in permutations([PASS, MISSED, finding, BARE, MISORDERED, NOT_RUN, ABSENT]):
        expected = next(part for part in parts if part in (BARE, MISORDERED))
        assert judge_run(parts).reason is expected.reason


@pytest.mark.parametrize("parts", list(permutations([PASS, MISSED, FINDINGS[2], NOT_RUN, ABSENT])))
def test_the_first_finding_is_the_reason_where_all_was_measured(parts):
    expected = next(part for part in parts if part.verdict is Verdict.FAIL)
    assert judge_run(parts).reason is expected.reason


@pytest.mark.parametrize("parts", list(permutations([PASS, ABSENT, NOT_RUN, NOT_RUN])))
def test_what_did_not_run_is_the_reason_where_nothing_failed(parts):
    judgement = judge_run(parts)
    assert (judgement.verdict, judgement.reason) == (Verdict.FAIL, Reason.NOT_RUN)


# --- what kept from measuring ------------------------------------------------------------


@pytest.mark.parametrize("optional", [True, False])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (EvaluationSetError("x"), Reason.EVALSET_FAILED),
        (EmbeddingError("x", Reason.EMBEDDING_NOT_FINITE), Reason.EMBEDDING_NOT_FINITE),
        (WeightsError("x"), Reason.WEIGHTS_UNUSABLE),
        (UsageError("x"), Reason.MODEL_FAILED),
    ],
)
def test_an_error_fails_with_its_own_reason(error, reason, optional):
    assert judge_failure(error, optional=optional) == Judgement(Verdict.FAIL, reason, "x")


def test_absent_weights_are_excused_where_the_model_is_optional():
    error = WeightsNotFoundError("x")
    absent = Reason.WEIGHTS_ABSENT
    assert judge_failure(error, optional=True) == Judgement(Verdict.NOT_MEASURED, absent, "x")
    assert judge_failure(error, optional=False) == Judgement(Verdict.FAIL, absent, "x")
