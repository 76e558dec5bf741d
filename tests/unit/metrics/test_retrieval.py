"""Metrics against enumeration of all tie-breaks, and against scipy."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def rank_counts_of(scores, positives):
    """Return the rank counts of a score matrix, with the identity matrix as the gallery."""
    from robustness.ranking import rank_counts

    scores = np.asarray(scores, dtype=np.float32)
    return rank_counts(scores, np.eye(scores.shape[1], dtype=np.float32), positives)


@st.composite
def small_rankings(draw):
    """Draw one query over at most 7 items with scores 0 to 2, so that ties are frequent."""
    scores = draw(st.lists(st.integers(0, 2), min_size=1, max_size=7))
    positives = draw(st.sets(st.integers(0, len(scores) - 1), min_size=1))
    return scores, sorted(positives)


def all_tie_breaks(scores, positives):
    """Return the ranks of the positives in every order that the scores allow, equally likely."""
    outcomes = [[]]
    above = 0
    for value in sorted(set(scores), reverse=True):
        level = [i for i, score in enumerate(scores) if score == value]
        tied = sum(i in positives for i in level)
        choices = [[above + 1 + p for p in c] for c in combinations(range(len(level)), tied)]
        outcomes = [ranks + more for ranks in outcomes for more in choices]
        above += len(level)
    return outcomes


@settings(max_examples=300)
@given(small_rankings(), st.integers(1, 8))
def test_metrics_are_the_mean_over_every_tie_break(ranking, k):
    from robustness import metrics

    scores, positives = ranking
    outcomes = all_tie_breaks(scores, positives)
    counts = rank_counts_of([scores], [positives])
    hit = np.mean([min(ranks) <= k for ranks in outcomes])
    assert metrics.hit_at(counts, k) == pytest.approx(hit)
    recall = np.mean([np.mean([rank <= k for rank in ranks]) for ranks in outcomes])
    assert metrics.recall_at(counts, k) == pytest.approx(recall)
    reciprocal = np.mean([1 / min(ranks) for ranks in outcomes])
    assert metrics.mean_reciprocal_rank(counts) == pytest.approx(reciprocal)
    rank = np.mean([min(ranks) for ranks in outcomes])
    assert metrics.median_rank(counts) == pytest.approx(rank)


@settings(max_examples=100)
@given(small_rankings(), st.integers(1, 8))
def test_chance_equals_identical_scores(ranking, k):
    from robustness import metrics

    scores, positives = ranking
    chance = metrics.chance_counts(rank_counts_of([scores], [positives]))
    equal = rank_counts_of([[0] * len(scores)], [positives])
    assert metrics.hit_at(chance, k) == pytest.approx(metrics.hit_at(equal, k))
    assert metrics.recall_at(chance, k) == pytest.approx(metrics.recall_at(equal, k))
    assert metrics.mean_reciprocal_rank(chance) == metrics.mean_reciprocal_rank(equal)


@pytest.mark.parametrize(("gallery", "positives", "k"), [(50, 1, 10), (50, 7, 10), (480, 30, 5)])
def test_chance_of_a_hit_is_hypergeometric(gallery, positives, k):
    from scipy.stats import hypergeom

    from robustness import metrics

    counts = rank_counts_of([[0] * gallery], [range(positives)])
    expected = hypergeom.sf(0, gallery, positives, k)
    assert metrics.hit_at(counts, k) == pytest.approx(expected)


def test_without_ties_the_metrics_are_the_textbook_ones():
    from robustness import metrics

    rng = np.random.default_rng(0)
    scores = rng.permuted(np.tile(np.arange(40), (300, 1)), axis=1)
    counts = rank_counts_of(scores, np.zeros(300, dtype=int))
    rank = 40 - scores[:, 0]
    assert metrics.hit_at(counts, 10) == pytest.approx(np.mean(rank <= 10))
    assert metrics.mean_reciprocal_rank(counts) == pytest.approx(np.mean(1 / rank))
    assert metrics.median_rank(counts) == np.median(rank)


def test_a_cutoff_beyond_the_gallery_finds_everything():
    from robustness import metrics

    counts = rank_counts_of([[3, 2, 1]], [[2]])
    assert metrics.hit_at(counts, 100) == 1
    assert metrics.recall_at(counts, 100) == 1


@pytest.mark.parametrize("function", ["hit_at", "recall_at"])
def test_a_cutoff_below_one_is_rejected(function):
    from robustness import metrics

    with pytest.raises(ValueError, match="cutoff k is 0; it must be at least 1"):
        getattr(metrics, function)(rank_counts_of([[1]], [[0]]), 0)


def test_retention():
    from robustness.metrics import retention

    assert retention(0.9, 0.9, 0.1) == 1
    assert retention(0.1, 0.9, 0.1) == 0
    assert retention(0.5, 0.9, 0.1) == pytest.approx(0.5)
    assert np.isnan(retention(0.1, 0.1, 0.1))
    assert np.isnan(retention(0.2, 0.05, 0.1))
