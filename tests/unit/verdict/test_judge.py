"""The verdict: what passes, what fails, and that nothing unmeasured passes."""

from __future__ import annotations

import math
from itertools import product

import pytest

from robustness.metrics.bootstrap import Estimate
from robustness.thresholds import Bound
from robustness.verdict.judge import judge, judge_run
from robustness.verdict.reasons import Judgement, Reason, Verdict

HIT = Bound("hit@10", at_least=True, limit=0.8, line=7)
RANK = Bound("median_rank", at_least=False, limit=5, line=9)

PASS = Judgement(Verdict.PASS, Reason.OK)
FAIL = Judgement(Verdict.FAIL, Reason.BOUND_MISSED, "x")
ABSENT = Judgement(Verdict.NOT_MEASURED, Reason.WEIGHTS_ABSENT, "x")
NOT_RUN = Judgement(Verdict.NOT_MEASURED, Reason.NOT_RUN, "x")


def estimates(hit=0.9, rank=2.0):
    return {"hit@10": Estimate(hit, hit - 0.05, hit + 0.05), "median_rank": Estimate(rank, 1, 9)}


def test_a_value_on_the_bound_passes():
    assert judge(estimates(hit=0.8, rank=5), [HIT, RANK]) == PASS


def test_a_miss_says_what_was_seen_what_was_asked_and_by_how_much():
    judgement = judge(estimates(hit=0.75), [HIT, RANK])
    assert (judgement.verdict, judgement.reason) == (Verdict.FAIL, Reason.BOUND_MISSED)
    assert judgement.message == (
        "hit@10 is 0.750 [0.700, 0.800], bound >= 0.8 (line 7), missed by 0.050"
    )


def test_a_miss_without_an_interval_says_so():
    unknown = {"hit@10": Estimate(0.75, float("nan"), float("nan"))}
    assert judge(unknown, [HIT]).message == (
        "hit@10 is 0.750 [-, -], bound >= 0.8 (line 7), missed by 0.050"
    )
    assert judge({"hit@10": Estimate(0.8, float("nan"), float("nan"))}, [HIT]) == PASS


def test_every_missed_bound_is_said():
    judgement = judge(estimates(hit=0.1, rank=50), [HIT, RANK])
    assert "hit@10 is 0.100" in judgement.message
    assert "median_rank is 50.000" in judgement.message


def test_no_bound_fails():
    judgement = judge(estimates(), [])
    assert (judgement.verdict, judgement.reason) == (Verdict.FAIL, Reason.NO_BOUND)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_fails(value):
    judgement = judge(estimates(hit=value), [RANK, HIT])
    assert (judgement.verdict, judgement.reason) == (Verdict.FAIL, Reason.NOT_FINITE)
    assert "hit@10 is not a number here" in judgement.message


def test_unknown_retention_says_why():
    bound = Bound("retention(hit@10)", at_least=True, limit=0.5, line=3)
    judgement = judge({"retention(hit@10)": Estimate(math.nan, math.nan, math.nan)}, [bound])
    assert judgement.reason is Reason.NOT_FINITE
    assert "(the clean model is no better than chance)" in judgement.message


def test_a_metric_that_is_not_there_fails():
    judgement = judge({}, [HIT])
    assert (judgement.verdict, judgement.reason) == (Verdict.FAIL, Reason.NOT_FINITE)


@pytest.mark.parametrize("parts", list(product([PASS, FAIL, ABSENT, NOT_RUN], repeat=3)))
def test_a_run_passes_only_where_something_passed_and_nothing_is_amiss(parts):
    judgement = judge_run(parts)
    clean = PASS in parts and FAIL not in parts and NOT_RUN not in parts
    assert judgement.verdict is (Verdict.PASS if clean else Verdict.FAIL)
    if FAIL in parts:
        assert judgement.reason is Reason.BOUND_MISSED
    elif not clean:
        missing = NOT_RUN in parts
        assert judgement.reason is (Reason.NOT_RUN if missing else Reason.NOTHING_MEASURED)


def test_an_empty_run_fails():
    judgement = judge_run([])
    assert (judgement.verdict, judgement.reason) == (Verdict.FAIL, Reason.NOTHING_MEASURED)
    assert "nothing was measured" in judgement.message


def test_an_optional_model_without_weights_is_counted():
    judgement = judge_run([PASS, ABSENT])
    assert judgement.verdict is Verdict.PASS
    assert "1 not measured" in judgement.message


def test_a_required_model_without_weights_fails():
    absent = Judgement(Verdict.FAIL, Reason.WEIGHTS_ABSENT, "x")
    assert judge_run([PASS, absent]).verdict is Verdict.FAIL
