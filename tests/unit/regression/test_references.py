"""The smallest detectable drop, against scipy's root of its equation; two clusters."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from robustness.ranking import rank_counts
from robustness.regression import Answers, compare_answers, smallest_drop


def comparison(n, worse, seed=0):
    """Compare random ranks of which a fraction is worsened by up to nine."""
    rng = np.random.default_rng(seed)
    before = rng.geometric(0.15, n).astype(float)
    after = before + rng.integers(1, 10, n) * (rng.random(n) < worse)
    answers = [{"x": Answers(np.log(r), (r <= 10).astype(float))} for r in (before, after)]
    return compare_answers(*answers, {"x": np.arange(n)})


@pytest.mark.parametrize("n", [400, 3000])
@pytest.mark.parametrize("worse", [0.0, 0.3])
@pytest.mark.parametrize(
    ("cases", "alpha", "margin", "power"),
    [(1, 1e-3, 0.01, 0.8), (32, 1e-5, 0.01, 0.8), (32, 1e-3, 0.05, 0.95), (4, 0.05, 0.0, 0.3)],
)
def test_the_smallest_drop_is_the_root_of_its_equation(n, worse, cases, alpha, margin, power):
    found = comparison(n, worse)

    def seen(drop):
        share = min(2 * drop / found.baseline_hit, 1)
        error = np.hypot(
            found.flip_standard_error,
            np.sqrt(found.sum_squared_weights * share) * found.half_loss_rise,
        )
        spread = np.hypot(found.standard_error, np.sqrt(found.sum_squared_weights * drop))
        rejects = norm.sf(norm.isf(alpha / cases), loc=share * found.half_loss_rise / error)
        return rejects * norm.cdf(drop, loc=margin, scale=spread)

    drop = smallest_drop(found, cases=cases, alpha=alpha, margin=margin, power=power)
    if seen(found.baseline_hit) < power:
        assert drop == math.inf
    else:
        root = brentq(lambda d: seen(d) - power, 1e-9, found.baseline_hit, xtol=1e-13)
        assert drop == pytest.approx(root, rel=1e-6)


def test_invalid_power_is_rejected():
    for power in (0, 1, -0.5, math.nan):
        with pytest.raises(ValueError, match="it must be between 0 and 1"):
            smallest_drop(comparison(50, 0.0), cases=1, power=power)


def test_two_clusters_have_an_error():
    """The jackknife standard error of two means is half their distance."""
    one, other = np.array([1.0, 1.0, 0.0]), np.array([0.0, 1.0, 0.0])
    log_rank = np.log([1.0, 2.0, 30.0])
    found = compare_answers(
        {"x": Answers(log_rank, one)},
        {"x": Answers(log_rank, other)},
        {"x": np.array([5, 7, 7])},
    )
    # Without the first the loss is 0, without the others 1.
    assert found.standard_error == pytest.approx(0.5)
    assert found.clusters == 2


def two_directions(queries, clusters, seed=2):
    rng = np.random.default_rng(seed)
    answers = [
        {
            d: Answers(np.log(ranks), (ranks <= 10).astype(float))
            for d, n in queries.items()
            for ranks in [rng.integers(1, 25, n).astype(float)]
        }
        for _ in range(2)
    ]
    return *answers, compare_answers(*answers, clusters)


def test_directions_weigh_equally_in_hits_and_in_what_half_of_them_cost():
    queries = {"x": 40, "y": 9}
    before, _, found = two_directions(queries, {d: np.arange(n) for d, n in queries.items()})
    halves = [
        math.log(10.5) - np.median(own.log_rank[own.log_rank < math.log(10.5)])
        for own in before.values()
    ]
    assert found.half_loss_rise == pytest.approx(sum(halves) / 2)
    assert found.baseline_hit == pytest.approx(
        (before["x"].hit.mean() + before["y"].hit.mean()) / 2
    )


def test_a_cluster_may_ask_in_one_direction_alone():
    """The jackknife leaves the other direction as it is."""
    clusters = {"x": np.arange(12), "y": np.arange(6)}
    before, after, found = two_directions({"x": 12, "y": 6}, clusters)
    losses = {d: before[d].hit - after[d].hit for d in clusters}
    left_out = np.array(
        [np.mean([losses[d][clusters[d] != name].mean() for d in clusters]) for name in range(12)]
    )
    expected = math.sqrt(11 / 12 * ((left_out - left_out.mean()) ** 2).sum())
    assert found.standard_error == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 5, 10, 100])
def test_answers_are_those_of_the_cutoff_that_was_asked_for(k):
    rng = np.random.default_rng(1)
    counts = rank_counts(rng.random((40, 150)), np.eye(150), rng.integers(0, 150, 40))
    found = Answers.of(counts, f"hit@{k}")
    assert found.cutoff == k
    assert found.hit.tolist() == (counts.greater < k).tolist()
    assert found.log_rank == pytest.approx(np.log(counts.greater + 1.0))
    hits = found.log_rank[found.hit == 1]
    fell = compare_answers({"x": found}, {"x": found}, {"x": np.arange(40)}).half_loss_rise
    expected = math.log(k + 0.5) - np.median(hits) if len(hits) else 0
    assert fell == pytest.approx(expected)


def test_equal_p_values_of_cases_are_adjusted_alike():
    from robustness.regression import adjust

    found = comparison(50, 0.2)
    adjusted = adjust([replace(found, p=p) for p in (0.02, 0.5, 0.02, 0.001)])
    assert [round(each.adjusted_p, 12) for each in adjusted] == [0.06, 0.5, 0.06, 0.004]
