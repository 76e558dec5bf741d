"""Bounds written from measurements, for either side and any metric."""

from __future__ import annotations

import math

import pytest
from scipy.stats import binomtest

from robustness.thresholds._observed import observe


def cell(metric="hit@10", value=0.5, low=0.45, high=0.55, n=10_000, **chance):
    return {
        "n": n,
        "metrics": {metric: {"value": value, "low": low, "high": high}},
        "chance": {"hit@10": 0.02, "median_rank": 32.0} | chance,
    }


def test_the_lowest_of_the_measurements_decides():
    cells = [cell(low=low) for low in (0.46, 0.44, 0.48)]
    found = observe("hit@10", cells, 0.01)
    assert str(found.bound) == "hit@10 >= 0.43"
    assert found.bound.line == 0, "it stands in no file yet"
    assert found.cell is cells[1]
    assert found.description == "hit@10 >= 0.43 (observed hit@10 0.500 [0.440, 0.550], n = 10000)"


@pytest.mark.parametrize(
    ("low", "slack", "limit"),
    [(0.45, 0.0, 0.45), (0.45, 0.05, 0.4), (0.4449, 0.0, 0.444), (0.81, 0.01, 0.8)],
)
def test_at_least_is_rounded_down(low, slack, limit):
    assert observe("hit@10", [cell(value=0.9, low=low)], slack).bound.limit == limit


@pytest.mark.parametrize(
    ("high", "slack", "limit"),
    [(0.55, 0.0, 0.55), (0.55, 0.05, 0.6), (0.5501, 0.0, 0.551), (0.79, 0.01, 0.8), (1, 0.1, 1)],
)
def test_at_most_is_rounded_up_and_no_chance_is_asked_of_it(high, slack, limit):
    found = observe("hit@10", [cell(high=high, **{"hit@10": 0.99})], slack, at_least=False)
    assert found.bound.limit == limit
    assert not found.bound.at_least


def test_the_highest_of_the_measurements_decides_what_is_at_most():
    cells = [cell("median_rank", 4, low, high) for low, high in ((1, 5), (3, 7.25), (2, 6))]
    found = observe("median_rank", cells, 0.01, at_least=False)
    # Ranks are counted: no slack.
    assert str(found.bound) == "median_rank <= 7.25"
    assert found.cell is cells[1]


@pytest.mark.parametrize(("at_least", "end"), [(True, "low"), (False, "high")])
def test_an_unknown_end_on_the_bound_s_side_is_counted(at_least, end):
    cells = [cell(), cell(**{end: None}), cell(), cell()]
    assert observe("hit@10", cells, 0.0, at_least=at_least) == (
        "hit@10 has no interval in 1 of 4 measurements"
    )


def test_a_metric_that_was_not_measured_is_counted():
    cells = [cell("mrr"), cell(), cell("mrr")]
    assert observe("hit@10", cells, 0.0) == "hit@10 has no interval in 2 of 3 measurements"


def test_retention_is_bound_from_0_to_1_and_its_chance_is_0():
    name = "retention(hit@10)"
    assert observe(name, [cell(name, 0.95, 0.9, 1.0)], 0.01).bound.limit == 0.89
    assert observe(name, [cell(name, 1.5, 1.3, 1.8)], 0.01).bound.limit == 1
    assert observe(name, [cell(name, 0.5, 0.002, 0.9)], 0.0).bound.limit == 0.002
    refused = observe(name, [cell(name, 0.5, -0.1, 0.9, n=100)], 0.0)
    # .6 down to below .499: 100 (.6 / .499)^2.
    assert refused == (
        "not distinguishable from chance (0.000) with n = 100: retention(hit@10) is 0.500"
        " [-0.100, 0.900];"
        " this would need n = 145"
    )


def test_a_metric_without_a_chance_has_chance_0():
    assert observe("mrr", [cell("mrr")], 0.0).bound.limit == 0.45
    refused = observe("mrr", [cell("mrr", 0.001, 0.0, 0.1, n=100)], 0.0)
    assert refused == (
        "mrr is 0.001 at chance 0.000: not distinguishable from chance at any number of queries"
        " with slack 0"
    )


def test_one_measurement_at_chance_refuses_the_bound_of_all():
    cells = [cell(), cell(**{"hit@10": 0.45})]
    assert "not distinguishable from chance (0.450)" in observe("hit@10", cells, 0.0)
    assert not isinstance(observe("hit@10", cells[:1], 0.0), str)


@pytest.mark.parametrize(("chance", "written"), [(0.449, True), (0.45, False)])
def test_a_bound_at_chance_says_nothing(chance, written):
    found = observe("hit@10", [cell(**{"hit@10": chance})], 0.0)
    assert isinstance(found, str) is not written


def test_a_metric_of_labels_rests_on_the_queries_that_have_some():
    """Of 8 of 8 right the score interval's lower end is 1 / (1 + z^2 / 8)."""
    found = observe("precision@1", [cell("precision@1", 1, 1, 1) | {"labelled": 8}], 0.0)
    assert str(found.bound) == "precision@1 >= 0.675"
    assert found.description.endswith("n = 8)")


@pytest.mark.parametrize(("right", "n"), [(48, 48), (60, 100)])
def test_rsum_is_no_surer_than_its_share_of_six(right, n):
    share = right / n
    found = observe("rsum", [cell("rsum", 6 * share, 6 * share, 6 * share, n=n)], 0.0)
    low = binomtest(right, n).proportion_ci(method="wilson").low
    assert found.bound.limit == math.floor(6 * low * 1000) / 1000


def test_a_rank_has_the_interval_that_was_observed():
    assert observe("median_rank", [cell("median_rank", 40, 40, 44)], 0.0).bound.limit == 40


def retained(metric, value, kept, low, **changes):
    """A cell whose ``metric`` keeps a share of what its clean value has over chance."""
    found = cell(f"retention({metric})", kept, low, 1.0, **changes)
    found["metrics"][metric] = {"value": value, "low": value, "high": value}
    return found


@pytest.mark.parametrize(("right", "n"), [(3, 3), (51, 100), (30, 100)])
def test_retention_is_no_surer_than_what_is_retained(right, n):
    """The clean value is 1 here, and chance .02."""
    value = right / n
    kept = (value - 0.02) / 0.98
    found = observe("retention(hit@10)", [retained("hit@10", value, kept, kept, n=n)], 0.0)
    low = binomtest(right, n).proportion_ci(method="wilson").low
    assert found.bound.limit == math.floor((low - 0.02) / 0.98 * 1000) / 1000


def test_retention_of_a_metric_of_labels_rests_on_the_queries_that_have_some():
    one = retained("precision@1", 1.0, 1.0, 1.0, **{"precision@1": 0.1}) | {"labelled": 8}
    found = observe("retention(precision@1)", [one], 0.0)
    low = binomtest(8, 8).proportion_ci(method="wilson").low
    assert found.bound.limit == math.floor((low - 0.1) / 0.9 * 1000) / 1000
    assert found.description.endswith("n = 8)")


def test_what_is_at_chance_retains_nothing_that_could_be_bound():
    assert "not distinguishable from chance at any" in observe(
        "retention(hit@10)", [retained("hit@10", 0.02, 0, -0.1)], 0
    )
