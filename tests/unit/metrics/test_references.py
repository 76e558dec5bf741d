"""Metrics against trec_eval and ranx, bootstrap intervals against scipy on the same resamples.

Without ties the three agree to the last digits. With ties they do not: trec_eval puts the
item whose name sorts last first, ranx the item its sort happens to put first, and this
project takes the mean over all orders. So ties are compared with trec_eval's mean over all
assignments of names to the items.

Elsewhere: sign flips against ``scipy.stats.permutation_test`` (``test_signflip.py``), Wilson's
limit against ``scipy.stats.binomtest`` (``test_thresholds_update.py``), ties enumerated
(``test_metrics.py``, ``test_topk.py``), ranks (``test_ranking_references.py``).
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import pytrec_eval
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from support import ranx_values

from robustness import metrics
from robustness.metrics.bootstrap import Bootstrap
from robustness.metrics.rank_counts import TopGains
from robustness.ranking import rank_counts
from robustness.ranking.tied_gains import expected_gains, ideal_gains

KS = (1, 5, 10)


def ours(scores, positives, gains):
    """Return this project's per-query metrics under trec_eval's names.

    Args:
        scores: ``[Q, G]``.
        positives: The positives of each query.
        gains: ``[Q, G]``, graded, 0 to 1.
    """
    scores, gains = np.asarray(scores, np.float32), np.asarray(gains, np.float64)
    counts = rank_counts(scores, np.eye(scores.shape[1], dtype=np.float32), positives)
    same = np.zeros_like(gains)
    for row, items in zip(same, positives, strict=True):
        row[items] = 1
    at_ranks = expected_gains(
        torch.from_numpy(scores), torch.from_numpy(np.stack([same, gains])), 10
    )
    top_gains = TopGains(
        *at_ranks.numpy(),
        ideal=ideal_gains(torch.from_numpy(gains), 10).numpy(),
        mean_binary=same.mean(1),
        mean_graded=gains.mean(1),
        gallery_size=scores.shape[1],
    )
    named = {"recip_rank": metrics.reciprocal_ranks(counts)}
    for k in KS:
        named[f"success_{k}"] = metrics.hits(counts, k)
        named[f"recall_{k}"] = metrics.recalls(counts, k)
        named[f"P_{k}"] = metrics.precisions(top_gains, k)
        named[f"ndcg_cut_{k}"] = metrics.ndcgs(top_gains, k)
    return named


def trec_eval(scores, positives, gains, names=None):
    """Return trec_eval's per-query metrics; its gains are integers, so ours are in quarters.

    Args:
        scores: ``[Q, G]``.
        positives: The positives of each query.
        gains: ``[Q, G]``, graded.
        names: Names of each query's items, ``[Q, G]``; by default ``d00``, ``d01``, ...
    """
    scores = np.asarray(scores)
    if names is None:
        names = [[f"d{i:02}" for i in range(scores.shape[1])]] * len(scores)
    rows = list(zip(names, scores.tolist(), positives, np.asarray(gains).tolist(), strict=True))
    run = {f"q{q:03}": dict(zip(ids, row, strict=True)) for q, (ids, row, _, _) in enumerate(rows)}
    same = {
        f"q{q:03}": {name: int(i in set(items)) for i, name in enumerate(ids)}
        for q, (ids, _, items, _) in enumerate(rows)
    }
    graded = {
        f"q{q:03}": {name: round(4 * gain) for name, gain in zip(ids, own, strict=True)}
        for q, (ids, _, _, own) in enumerate(rows)
    }
    cuts = ",".join(map(str, KS))
    found = {}
    for truth, wanted in (
        (same, {"recip_rank", f"success.{cuts}", f"recall.{cuts}", f"P.{cuts}"}),
        (graded, {f"ndcg_cut.{cuts}"}),
    ):
        by_query = pytrec_eval.RelevanceEvaluator(truth, wanted).evaluate(run)
        for name in by_query["q000"]:
            found[name] = np.array([by_query[query][name] for query in run])
    return found


@st.composite
def problems(draw, *, ties):
    """Draw scores, positives and gains in quarters, for up to 20 queries and 30 items."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    queries, items = draw(st.integers(1, 20)), draw(st.integers(1, 5 if ties else 30))
    scores = rng.permuted(np.tile(np.arange(items), (queries, 1)), axis=1)
    if ties:
        scores = rng.integers(0, 3, (1, items))
    positives = [
        rng.choice(items, rng.integers(1, items + 1), replace=False).tolist() for _ in scores
    ]
    gains = rng.integers(0, 5, scores.shape) / 4
    gains[np.arange(len(gains)), rng.integers(0, items, len(gains))] = 1
    return scores, positives, gains


# --- trec_eval and ranx ------------------------------------------------------------------


@settings(max_examples=60)
@given(problems(ties=False))
def test_without_ties_every_query_agrees_with_trec_eval(problem):
    mine, theirs = ours(*problem), trec_eval(*problem)
    assert mine.keys() == theirs.keys()
    for name, values in theirs.items():
        assert mine[name] == pytest.approx(values, abs=1e-9), name


@settings(max_examples=25)
@given(problems(ties=True))
def test_with_ties_a_query_is_the_mean_of_trec_eval_over_all_names(problem):
    """Five items can be named in 120 ways; trec_eval orders a tie by name."""
    scores, positives, gains = problem
    names = [[f"d{i}" for i in order] for order in permutations(range(scores.shape[1]))]
    repeated = ([part[0]] * len(names) for part in (scores, positives, gains))
    theirs = trec_eval(*repeated, names=names)
    for name, (value,) in ours(*problem).items():
        assert value == pytest.approx(theirs[name].mean(), abs=1e-9), name


def test_the_order_of_a_tie_does_not_depend_on_names():
    """trec_eval ranks the tied item whose name sorts last first."""
    tied = ([[1, 1]], [[0]], [[1, 0]])
    assert trec_eval(*tied)["success_1"] == [0]
    assert trec_eval(*tied, names=[["d1", "d0"]])["success_1"] == [1]
    assert ours(*tied)["success_1"] == [0.5]


def test_a_fixed_problem_agrees_with_ranx():
    scores, positives, gains = ranx_values.problem()
    mine = ours(scores, positives, gains / 4)
    names = {"mrr": "recip_rank", "hit_rate": "success", "precision": "P", "ndcg": "ndcg_cut"}
    for name, value in ranx_values.VALUES.items():
        metric, _, k = name.partition("@")
        own = f"{names.get(metric, metric)}_{k}".rstrip("_")
        assert mine[own].mean() == pytest.approx(value, abs=1e-12), name


# --- scipy ---------------------------------------------------------------------------------

R = 1001
"""With 1001 resamples the 2.5 % and 97.5 % points are the 26th and 976th by any definition."""


class _FixedDraws(np.random.Generator):
    """Generator that returns given draws, so that scipy uses this project's resamples."""

    def __init__(self, draws):
        super().__init__(np.random.Philox(0))
        self.draws = draws

    def integers(self, low, high=None, size=None, **_):
        assert (low, high, tuple(size)) == (0, self.draws.shape[1], self.draws.shape)
        return self.draws


def same_resamples(bootstrap):
    """Return the project's resamples as indexes of the drawn studies."""
    return np.array([np.repeat(np.arange(len(row)), row.astype(int)) for row in bootstrap._counts])


def by_scipy(bootstrap, columns, statistic):
    return stats.bootstrap(
        columns,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=R,
        method="percentile",
        rng=_FixedDraws(same_resamples(bootstrap)),
    )


def agree(replicates, theirs):
    assert replicates.resampled == pytest.approx(theirs.bootstrap_distribution, rel=1e-12)
    estimate = replicates.estimate()
    assert estimate.low == pytest.approx(theirs.confidence_interval.low, rel=1e-12)
    assert estimate.high == pytest.approx(theirs.confidence_interval.high, rel=1e-12)
    assert estimate.low < estimate.value < estimate.high


@pytest.mark.parametrize("n", [20, 151])
def test_the_bootstrap_of_a_mean_and_a_median_is_scipy_s(n):
    values = np.random.default_rng(n).exponential(size=n)
    # Zero-padded names sort in the order of the studies.
    bootstrap = Bootstrap([f"s{i:03}" for i in range(n)], seed=3, replicates=R)
    agree(bootstrap.mean(values), by_scipy(bootstrap, (values,), np.mean))
    agree(bootstrap.median(values), by_scipy(bootstrap, (values,), np.median))


def test_the_bootstrap_of_a_weighted_mean_over_studies_is_scipy_s_of_a_ratio():
    rng = np.random.default_rng(4)
    study = np.concatenate([np.arange(40), rng.integers(0, 40, 60)])
    values, weights = rng.random(100), rng.choice([0.25, 0.5, 1.0], 100)
    bootstrap = Bootstrap([f"s{i:02}" for i in study], seed=5, replicates=R)
    total = np.array([(weights * values)[study == s].sum() for s in range(40)])
    weight = np.array([weights[study == s].sum() for s in range(40)])
    theirs = by_scipy(
        bootstrap, (total, weight), lambda t, w, axis: t.sum(axis=axis) / w.sum(axis=axis)
    )
    agree(bootstrap.mean(values, weights), theirs)


def test_a_difference_of_replicates_is_scipy_s_paired_bootstrap():
    rng = np.random.default_rng(6)
    one, other = rng.random((2, 80))
    bootstrap = Bootstrap([f"s{i:02}" for i in range(80)], seed=7, replicates=R)
    theirs = by_scipy(
        bootstrap, (one, other), lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis)
    )
    mine = bootstrap.mean(one).resampled - bootstrap.mean(other).resampled
    assert mine == pytest.approx(theirs.bootstrap_distribution, rel=1e-9, abs=1e-12)


def test_resamples_have_the_binomial_distribution():
    """The number of times one study is drawn, over all resamples."""
    bootstrap = Bootstrap([f"s{i:02}" for i in range(30)], seed=8, replicates=20_000)
    drawn = np.array([(row == 0).sum() for row in same_resamples(bootstrap)])
    expected = stats.binom.pmf(range(5), 30, 1 / 30)
    observed = [np.mean(drawn == times) for times in range(5)]
    assert observed == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 20_000))


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_another_confidence_is_between_the_order_statistics_that_scipy_interpolates(confidence):
    values = np.random.default_rng(9).random(50)
    bootstrap = Bootstrap([f"s{i:02}" for i in range(50)], seed=10, replicates=R)
    mine = bootstrap.mean(values).estimate(confidence)
    tail = 100 * (1 - confidence) / 2
    for end, at in ((mine.low, tail), (mine.high, 100 - tail)):
        theirs = (
            stats.scoreatpercentile(
                bootstrap.mean(values).resampled, at, interpolation_method="lower"
            ),
            stats.scoreatpercentile(
                bootstrap.mean(values).resampled, at, interpolation_method="higher"
            ),
        )
        assert theirs[0] <= end <= theirs[1]
