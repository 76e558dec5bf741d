"""Judgement of comparisons: messages and decisions."""

from __future__ import annotations

import numpy as np
import pytest

from robustness.regression import Answers, adjust, compare_answers
from robustness.regression.judge import judge_regression
from robustness.thresholds import ALPHA, NON_INFERIORITY_ALPHA, Regression
from robustness.verdict.reasons import Judgement, Reason, Verdict


def compared(lost, n=1000):
    """Return the comparison of a candidate that pushes queries from rank 1 to rank 20.

    Args:
        lost: Number of such queries.
        n: Number of queries, of one direction.
    """
    before = np.ones(n)
    after = np.where(np.arange(n) < lost, 20.0, 1.0)
    answers = [
        {"image_to_report": Answers(np.log(ranks), (ranks <= 10).astype(float))}
        for ranks in (before, after)
    ]
    return adjust([compare_answers(*answers, {"image_to_report": np.arange(n)})])[0]


@pytest.mark.parametrize(("lost", "text"), [(20, "2 points"), (125, "12.5 points")])
def test_a_regression_is_reported_in_points(lost, text):
    comparison = compared(lost)
    judgement = judge_regression(comparison, Regression(), cases=32)
    assert (judgement.verdict, judgement.reason) == (Verdict.FAIL, Reason.REGRESSION)
    low, high = comparison.limits()
    assert judgement.message == (
        f"hit@10 fell by {text} [{100 * low:.1f}, {100 * high:.1f}], tolerated: 1 point;"
        f" p = {2.0**-lost:.2g} (sign flips, Holm over 32 comparisons), level {ALPHA:g}"
    )


def test_the_drop_that_is_not_excluded_is_reported_in_points():
    comparison = compared(15)
    settings = Regression(mode="non_inferiority", margin=0.015, alpha=0.2)
    judgement = judge_regression(comparison, settings, cases=4)
    upper = comparison.limits(1 - 2 * 0.2 / 4)[1]
    assert (judgement.verdict, judgement.reason) == (
        Verdict.FAIL,
        Reason.INFERIORITY_NOT_EXCLUDED,
    )
    assert judgement.message == (
        f"hit@10 fell by 1.5 points, and a drop of up to {100 * upper:.1f} points is not"
        " excluded; tolerated: 1.5 points"
    )


@pytest.mark.parametrize("mode", ["regression", "non_inferiority"])
@pytest.mark.parametrize(
    ("alpha", "margin"), [(None, 0.01), (0.4, 0.01), (1e-9, 0.01), (0.4, 0.05)]
)
def test_level_margin_and_number_of_comparisons_are_those_given(mode, alpha, margin):
    """The decision is computed independently here, on both sides of every setting."""
    settings = Regression(mode=mode, alpha=alpha, margin=margin)
    level = alpha or {"regression": ALPHA, "non_inferiority": NON_INFERIORITY_ALPHA}[mode]
    for lost in (0, 3, 8, 12, 20, 60):
        for cases in (1, 1000):
            comparison = compared(lost)
            fails = comparison.adjusted_p <= level and comparison.drop > margin
            if mode == "non_inferiority":
                fails = comparison.limits(1 - 2 * level / cases)[1] >= margin
            judgement = judge_regression(comparison, settings, cases=cases)
            if fails:
                assert judgement.verdict is Verdict.FAIL
                assert judgement.message
            else:
                assert judgement == Judgement(Verdict.PASS, Reason.OK, "")
