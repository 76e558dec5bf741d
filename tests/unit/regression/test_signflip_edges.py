"""Sign-flip edge cases: few steps, many clusters, a baseline without hits."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from robustness.regression import Answers, compare_answers, sign_flip_test, smallest_drop
from robustness.regression._signflip import _fitting, cluster_sums, tail, whole_steps

MAX_STEPS = 2**17
"""Number of steps in the sum of all sizes if clusters are few."""


@pytest.mark.parametrize("n", [254, 255, 256, 257, 511, 512, 513])
@pytest.mark.parametrize("better", [0.4, 0.5])
def test_many_equal_clusters_are_a_binomial(n, better):
    negative = round(better * n)
    values = np.where(np.arange(n) < negative, -1.0, 1.0)
    expected = stats.binom.cdf(negative, n, 0.5)
    assert sign_flip_test(values, range(n)) == pytest.approx(expected, rel=1e-9)


def test_a_cluster_of_a_single_step_counts():
    assert whole_steps(np.array([1, 7e-6])).tolist()[1] == 1
    assert tail(np.array([1, 7e-6])) == 1 / 4


def test_a_small_cluster_sum_next_to_a_large_one_is_kept():
    assert cluster_sums(np.array([1, 1e-14]), np.array([0, 1])).tolist() == [1, 1e-14]


def test_sums_that_cancel_up_to_rounding_are_zero():
    values, cluster = np.array([0.1, 0.2, -0.3, 1]), np.array([0, 0, 0, 1])
    assert np.bincount(cluster, values)[0] != 0
    assert cluster_sums(values, cluster).tolist() == [0, 1]


def test_multiples_of_a_size_just_above_a_step_stay_multiples():
    smallest = 1.4 / MAX_STEPS
    one, two, _ = whole_steps(np.array([smallest, 2 * smallest, 1 - 3 * smallest]))
    assert two == 2 * one


@pytest.mark.parametrize("parts", [60.5, 61, 119.5, 121])
def test_a_step_is_at_most_the_given_one_and_divides_into_halves_and_fifths(parts):
    step = _fitting(parts, 1.0)
    assert 0.5 <= step <= 1
    whole = round(parts / step)
    assert parts / step == pytest.approx(whole)
    assert whole % 60 == 0


def test_zero_sums_give_zero_steps():
    steps = whole_steps(np.zeros(3))
    assert steps.dtype == np.int64
    assert steps.tolist() == [0, 0, 0]


def test_no_drop_is_detectable_for_a_baseline_without_hits():
    ranks = np.log(np.arange(1.0, 21))
    baseline = Answers(ranks, np.ones(20))
    candidate = Answers(ranks + np.linspace(0, 1, 20), np.ones(20))
    clusters = {"image_to_report": np.arange(20)}
    found = compare_answers({"image_to_report": baseline}, {"image_to_report": candidate}, clusters)
    for without in (replace(found, baseline_hit=0.0), replace(found, half_loss_rise=0.0)):
        assert math.isinf(smallest_drop(without, cases=1))
