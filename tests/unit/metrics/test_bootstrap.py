"""Bootstrap intervals against scipy and against their nominal coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustness.metrics.bootstrap import Bootstrap, Replicates


def test_interval_agrees_with_scipy_if_every_study_has_one_image():
    from scipy import stats

    values = np.random.default_rng(0).random(300)
    ours = Bootstrap([str(i) for i in range(300)], seed=1, replicates=20_000).mean(values)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    estimate = ours.estimate()
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(theirs.low, abs=0.001)
    assert estimate.high == pytest.approx(theirs.high, abs=0.001)


def test_studies_of_many_images_widen_the_interval():
    """Ten equal images of a study are no more information than one."""
    values = np.repeat(np.random.default_rng(0).random(50), 10)
    clustered = Bootstrap(np.repeat(np.arange(50), 10).astype(str).tolist(), seed=0).mean(values)
    unclustered = Bootstrap([str(i) for i in range(500)], seed=0).mean(values)
    wide, narrow = (e.high - e.low for e in (clustered.estimate(), unclustered.estimate()))
    assert wide / narrow == pytest.approx(np.sqrt(10), rel=0.15)


def test_95_percent_of_the_intervals_cover_the_truth():
    rng = np.random.default_rng(3)
    studies = np.repeat(np.arange(100), 2).astype(str).tolist()
    covered = 0
    for trial in range(300):
        values = (np.repeat(rng.random(100), 2) < 0.7).astype(float)
        estimate = Bootstrap(studies, seed=trial, replicates=400).mean(values).estimate()
        covered += estimate.low <= 0.7 <= estimate.high
    # Three standard errors of a fraction of 300 below .95, and the method's known undercoverage.
    assert covered / 300 > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 300) - 0.01


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 3)), min_size=1, max_size=12))
def test_weighted_median_is_the_median_of_repeated_values(rows):
    values = np.array([value for value, _ in rows], dtype=float)
    weights = np.array([weight for _, weight in rows], dtype=float)
    bootstrap = Bootstrap([str(i) for i in range(len(rows))], seed=0, replicates=3)
    expected = np.median(np.repeat(values, weights.astype(int)))
    assert bootstrap.median(values, weights).value == expected


def test_resampled_medians_are_medians_of_the_resamples():
    values = np.random.default_rng(0).random(30)
    studies = [str(i) for i in range(30)]
    bootstrap = Bootstrap(studies, seed=5, replicates=50)
    counts = np.random.Generator(np.random.Philox(key=5)).multinomial(30, [1 / 30] * 30, size=50)
    order = np.unique(studies, return_inverse=True)[1]
    expected = [np.median(np.repeat(values, row[order])) for row in counts]
    assert bootstrap.median(values).resampled == pytest.approx(expected)


def test_the_mean_is_weighted():
    values, weights = np.array([1.0, 2.0, 4.0]), np.array([1.0, 1.0, 2.0])
    mean = Bootstrap(["a", "b", "c"], seed=0).mean(values, weights)
    assert mean.value == pytest.approx(11 / 4)
    assert mean.resampled.min() >= 1
    assert mean.resampled.max() <= 4


def test_statistics_share_their_resamples():
    bootstrap = Bootstrap([str(i) for i in range(40)], seed=0)
    values = np.random.default_rng(0).random(40)
    low, high = bootstrap.mean(values), bootstrap.mean(values + 0.25)
    assert high.resampled - low.resampled == pytest.approx(0.25)


def test_an_unknown_resample_makes_the_interval_unknown():
    estimate = Replicates(0.5, np.array([0.4, np.nan, 0.6])).estimate()
    assert estimate.value == 0.5
    assert np.isnan(estimate.low)
    assert np.isnan(estimate.high)


def test_an_unknown_value_makes_the_interval_unknown():
    estimate = Replicates(np.nan, np.linspace(0.4, 0.6, 100)).estimate()
    assert np.isnan([estimate.value, estimate.low, estimate.high]).all()


def test_an_infinite_resample_gives_an_infinite_limit():
    resampled = np.concatenate([np.linspace(0.3, 0.4, 90), np.full(10, np.inf)])
    estimate = Replicates(0.35, resampled).estimate()
    assert estimate.high == np.inf
    assert 0.3 <= estimate.low < 0.31


def test_a_thousand_resamples_are_drawn():
    assert len(Bootstrap(["a", "b"], seed=0).mean(np.ones(2)).resampled) == 1000


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_one_study_has_no_interval(statistic):
    """All its resamples are identical: zero width would look like certainty."""
    of = getattr(Bootstrap(["a", "a"], seed=0, replicates=7), statistic)
    replicates = of(np.array([0.0, 1.0]))
    assert replicates.resampled.shape == (7,)
    assert replicates.estimate().value == 0.5
    assert np.isnan([replicates.estimate().low, replicates.estimate().high]).all()


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_one_study_with_weight_has_no_interval(statistic):
    """Also if there are other studies without weight and a resample contains the one."""
    values, weights = np.array([0.0, 1.0, 9.0, 9.0]), np.array([1.0, 2.0, 0.0, 0.0])
    for seed in range(9):
        bootstrap = Bootstrap(["a", "a", "b", "c"], seed=seed, replicates=1)
        found = getattr(bootstrap, statistic)(values, weights)
        assert found.value == {"mean": pytest.approx(2 / 3), "median": 1}[statistic]
        assert np.isnan(found.resampled).all()


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_two_studies_have_an_interval(statistic):
    found = getattr(Bootstrap(["a", "a", "b"], seed=0), statistic)(np.array([0.0, 0.0, 1.0]))
    assert (found.estimate().low, found.estimate().high) == (0, 1)
