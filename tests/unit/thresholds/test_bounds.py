"""Bounds against a number, chance and other models: how they are written and what they hold."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bounds import FILE, read

from robustness.errors import UsageError
from robustness.metrics import RANGES
from robustness.metrics.bootstrap import Estimate
from robustness.thresholds import Bound, MeasurementKey, load
from robustness.verdict.judge import judge
from robustness.verdict.reasons import Reason, Verdict


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("hit@10 >= 0.8", Bound("hit@10", True, 0.8, 8)),
        ("hit@10>=.8", Bound("hit@10", True, 0.8, 8)),
        ("median_rank <= 5e1", Bound("median_rank", False, 50, 8)),
        ("hit@10 >= chance", Bound("hit@10", True, 0, 8, "chance")),
        ("hit@10 >= 3 * chance", Bound("hit@10", True, 0, 8, "chance", 3)),
        ("hit@10 >= 2.5*chance + 0.1", Bound("hit@10", True, 0.1, 8, "chance", 2.5)),
        ("mrr >= clip - 0.02", Bound("mrr", True, -0.02, 8, "clip")),
        ("hit@10 no worse than clip", Bound("hit@10", True, 0, 8, "clip")),
        ("hit@10 no worse than clip by 0.02", Bound("hit@10", True, -0.02, 8, "clip")),
        ("median_rank no worse than clip by 2", Bound("median_rank", False, 2, 8, "clip")),
        ("retention(hit@10) >= clip", Bound("retention(hit@10)", True, 0, 8, "clip")),
    ],
)
def test_what_a_bound_says(tmp_path, text, bound):
    assert read(tmp_path, text) == (bound,)
    assert read(tmp_path, str(bound)) == (bound,), "what is printed can be written again"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hit@10 == 0.8", "is not METRIC >= LIMIT"),
        ("hit@10 worse than clip", "is not METRIC >= LIMIT"),
        ("hit@10 >= klip", "unknown limit 'klip' in bound 'hit@10 >= klip'; allowed: a number"),
        ("hit@10 >= klip", "did you mean 'clip'?"),
        ("hit@10 no worse than clop", "did you mean 'clip'?"),
        (
            "hit@10 no worse than clip by 2",
            "it must be at least 0 and at most 1 (1 point is written 0.01)",
        ),
        (
            "hit@10 no worse than clip by -0.1",
            "the number after 'by' is -0.1; it must be at least 0 and at most 1",
        ),
        ("hit@10 no worse than clip by much", "'much' is not a number"),
        (
            "hit@10 >= chance + 20",
            "the number added to chance is 20; it must be at least -1 and at most 1",
        ),
        ("hit@10 >= -3 * chance", "the factor is -3; it must be at least 0 and finite"),
        ("retention(mrr) >= chance", "retention is already relative to chance"),
        ("hit@10 >= inf", "hit@10 is at least 0 and at most 1"),
        ("hit@10 >= nan", "hit@10 is at least 0 and at most 1"),
        ("hit@10 >=", "'' is not a number"),
    ],
)
def test_what_a_bound_may_not_say(tmp_path, text, message):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'thresholds.yaml'}:8:28: ")


def test_a_rule_that_holds_a_model_against_itself_is_named(tmp_path):
    rule = "mrr >= 0]}\n  - {model: clip, require: [hit@10 no worse than clip"
    with pytest.raises(
        UsageError, match=":9:5: bound 'hit@10 >= clip' .* compares a model with itself"
    ):
        read(tmp_path, rule)


def test_a_model_is_not_held_against_itself(tmp_path):
    assert len(read(tmp_path, "hit@10 >= clip")) == 1
    other = MeasurementKey("clip", "square", "black", 0.0, "image_to_report")
    assert read(tmp_path, "hit@10 >= clip", other) == ()


def test_no_model_may_be_called_chance(tmp_path):
    path = tmp_path / "thresholds.yaml"
    path.write_text(FILE.format("mrr >= 0").replace("clip:", "chance:", 1))
    with pytest.raises(
        UsageError, match="model name 'chance' is invalid; allowed: .* but not the name 'chance'"
    ):
        load(path)


@given(
    metric=st.sampled_from(sorted(RANGES)),
    at_least=st.booleans(),
    limit=st.decimals(-1, 1, places=3).map(float),
    reference=st.sampled_from(["chance", "clip"]),
    factor=st.decimals(0, 9, places=2).map(float),
    value=st.floats(-5, 5),
    other=st.floats(-5, 5),
)
def test_a_reference_moves_the_limit(metric, at_least, limit, reference, factor, value, other):
    bound = Bound(metric, at_least, limit, 3, reference, factor)
    there = {reference: {metric: other}}
    expected = factor * other + limit
    assert bound.against(there) == expected
    judgement = judge({metric: Estimate(value, value, value)}, [bound], there)
    slack = 1e-9 * max(1, abs(expected))
    holds = value >= expected - slack if at_least else value <= expected + slack
    assert judgement.verdict is (Verdict.PASS if holds else Verdict.FAIL)


@pytest.mark.parametrize("there", [{}, {"clip": {}}, {"clip": {"mrr": math.nan}}])
def test_a_reference_without_a_value_fails(there):
    bound = Bound("mrr", True, -0.1, 3, "clip")
    judgement = judge({"mrr": Estimate(0.9, 0.8, 1.0)}, [bound], there)
    assert (judgement.verdict, judgement.reason) == (Verdict.FAIL, Reason.REFERENCE_FAILED)
    assert "mrr of clip is not a number here, so bound mrr >= clip - 0.1 (line 3)" in (
        judgement.message
    )


def test_a_miss_says_what_the_reference_came_to():
    bound = Bound("mrr", True, -0.1, 3, "clip")
    judgement = judge({"mrr": Estimate(0.5, 0.4, 0.6)}, [bound], {"clip": {"mrr": 0.8}})
    assert judgement.message == (
        "mrr is 0.500 [0.400, 0.600], bound >= clip - 0.1 = 0.700 (line 3), missed by 0.200"
    )
