"""Expected gains at the first ranks, and their metrics, against all tie-breaks."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.label_reference import expected_at_ranks, ndcg, ndcg_like_scikit_learn, precision

from robustness import metrics
from robustness.metrics.rank_counts import TopGains
from robustness.ranking.tied_gains import GRAIN, expected_gains, ideal_gains

K = 10


def at_ranks(scores, gains, depth):
    """Return ``expected_gains`` of one query and one kind of gain."""
    found = expected_gains(
        torch.from_numpy(np.array([scores], dtype=np.float32)),
        torch.from_numpy(np.array([[gains]], dtype=np.float64)),
        depth,
    )
    return found[0, 0].numpy()


def exact_mean(gains):
    return float(sum(map(Fraction, np.asarray(gains, dtype=float).tolist())) / len(gains))


def top_gains(scores, same, overlap, depth=K):
    """Return the top gains of one query's ranking."""
    overlap = np.asarray(overlap, dtype=float)
    best = ideal_gains(torch.from_numpy(overlap[None]), depth)
    return TopGains(
        binary=at_ranks(scores, same, depth)[None],
        graded=at_ranks(scores, overlap, depth)[None],
        ideal=best.numpy(),
        mean_binary=np.array([exact_mean(same)]),
        mean_graded=np.array([exact_mean(overlap)]),
        gallery_size=len(scores),
    )


@st.composite
def small_rankings(draw, largest=6):
    """Draw scores 0 to 2, so that ties are frequent, and gains in quarters, one of them 1."""
    scores = draw(st.lists(st.integers(0, 2), min_size=1, max_size=largest))
    gains = [draw(st.integers(0, 4)) / 4 for _ in scores]
    gains[draw(st.integers(0, len(scores) - 1))] = 1.0
    return np.array(scores), np.array(gains)


@st.composite
def rankings(draw):
    """Draw one query over up to 40 items, with ties; gains are multiples of GRAIN."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.integers(1, 40))
    scores = rng.integers(0, draw(st.integers(1, 60)), size)
    gains = rng.integers(0, 2**32 + 1, size) * GRAIN
    gains[rng.integers(size)] = 1
    return scores, gains


# --- gains ---------------------------------------------------------------------------------


@settings(max_examples=150)
@given(small_rankings(), st.integers(1, 8))
def test_gains_are_the_mean_over_every_tie_break(ranking, depth):
    scores, gains = ranking
    expected = expected_at_ranks(scores, gains, depth)
    assert at_ranks(scores, gains, depth) == pytest.approx(expected, abs=1e-12)


def test_a_tie_at_and_beyond_the_last_rank():
    assert at_ranks([3, 2, 2, 1], [0, 1, 0, 1], 4).tolist() == [0, 0.5, 0.5, 1]
    # The same if only a part of the tie fits, and beyond the gallery.
    assert at_ranks([3, 2, 2, 1], [0, 1, 0, 1], 2).tolist() == [0, 0.5]
    assert at_ranks([3, 2, 2, 1], [0, 1, 0, 1], 6).tolist() == [0, 0.5, 0.5, 1, 0, 0]


def test_kinds_of_gain_and_queries_are_independent():
    scores = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    gains = torch.tensor(
        [[[1.0, 0.0, 0.5], [1.0, 0.0, 0.5]], [[0.25, 1.0, 0.0], [0.0, 0.5, 1.0]]]
    ).double()
    assert expected_gains(scores, gains, 2).tolist() == [
        [[1, 0], [0.25, 0.25]],
        [[0.25, 1], [0.75, 0.75]],
    ]


@given(rankings(), st.integers(1, 45))
def test_each_gain_is_the_exact_mean_rounded_once(ranking, depth):
    scores, gains = ranking
    expected = []
    for rank in range(min(depth, len(scores))):
        level = scores == np.sort(scores)[::-1][rank]
        expected.append(exact_mean(gains[level]))
    found = at_ranks(scores, gains, depth)
    assert found[: len(scores)].tolist() == expected
    assert not found[len(scores) :].any()


@given(rankings(), st.integers(1, 45), st.integers(0, 2**32 - 1))
def test_the_order_of_the_gallery_changes_no_bit(ranking, depth, seed):
    scores, gains = ranking
    order = np.random.default_rng(seed).permutation(len(scores))
    found, permuted = (
        at_ranks(scores, gains, depth),
        at_ranks(scores[order], gains[order], depth),
    )
    assert found.tobytes() == permuted.tobytes()


@given(rankings())
def test_gains_over_all_ranks_add_up_to_the_total(ranking):
    scores, gains = ranking
    assert at_ranks(scores, gains, 41).sum() == pytest.approx(gains.sum())


@given(rankings(), st.integers(1, 45))
def test_ideal_gains_equal_a_sort(ranking, depth):
    _, gains = ranking
    found = ideal_gains(torch.from_numpy(gains[None]), depth)[0].numpy()
    expected = np.pad(np.sort(gains)[::-1][:depth], (0, max(0, depth - len(gains))))
    assert found.tolist() == expected.tolist()


# --- metrics -------------------------------------------------------------------------------


@settings(max_examples=100)
@given(small_rankings(), st.integers(1, K))
def test_metrics_are_the_mean_over_every_tie_break(ranking, k):
    scores, gains = ranking
    right = (gains == 1).astype(float)
    found = top_gains(scores, right, gains)
    assert metrics.precisions(found, k)[0] == pytest.approx(precision(scores, right, k))
    assert metrics.ndcgs(found, k)[0] == pytest.approx(ndcg(scores, gains, k))


@given(rankings(), st.integers(1, K))
def test_ndcg_is_that_of_scikit_learn(ranking, k):
    scores, gains = ranking
    found = metrics.ndcgs(top_gains(scores, gains == 1, gains), k)
    assert found[0] == pytest.approx(ndcg_like_scikit_learn(gains, scores, k))


def test_the_example_of_ndcg_by_hand():
    found = top_gains([4, 3, 2, 1], [1, 0, 0, 0], [1, 0, 0.5, 0])
    # log2(4) = 2 and log2(3) = 1.585: 1 + 0.25 = 1.25 over 1 + 0.3155 = 1.3155.
    assert metrics.ndcgs(found, 3)[0] == pytest.approx(1.25 / 1.3154649)
    assert metrics.ndcgs(found, 1)[0] == 1
    assert metrics.ndcgs(found, 2)[0] == pytest.approx(1 / 1.3154649)
    assert metrics.precisions(found, 1)[0] == 1
    assert (
        metrics.precisions(found, 5)[0] == 1 / 5
    )  # the divisor is 5 although there are four items


@given(rankings())
def test_metrics_stay_in_their_ranges(ranking):
    scores, gains = ranking
    found = top_gains(scores, gains == 1, gains)
    named = metrics.per_labelled_query(found)
    assert set(named) == set(metrics.LABEL_MEANS)
    for name, values in named.items():
        low, high = metrics.RANGES[name]
        assert low <= values[0] <= high, name
    counted = [k * metrics.precisions(found, k)[0] for k in range(1, K + 1)]
    assert (np.diff(counted) >= -1e-12).all()


@given(rankings(), st.data())
def test_ranking_the_higher_gain_first_is_never_worse(ranking, data):
    scores, gains = ranking
    one, other = (data.draw(st.integers(0, len(scores) - 1)) for _ in range(2))
    swapped = scores.copy()
    swapped[[one, other]] = scores[[other, one]]
    along = (scores[one] - scores[other]) * (gains[one] - gains[other]) >= 0
    better, worse = (scores, swapped) if along else (swapped, scores)
    for k in metrics.LABEL_CUTOFFS:
        high, low = (
            metrics.ndcgs(top_gains(by, gains == 1, gains), k)[0] for by in (better, worse)
        )
        assert high >= low - 1e-12


@given(rankings())
def test_a_ranking_by_the_gains_is_perfect(ranking):
    _, gains = ranking
    found = top_gains(gains.argsort().argsort(), gains == 1, gains)
    for k in metrics.LABEL_CUTOFFS:
        assert metrics.ndcgs(found, k)[0] == pytest.approx(1, abs=1e-15)
        assert metrics.precisions(found, k)[0] == min(k, (gains == 1).sum()) / k


@given(rankings())
def test_chance_is_bitwise_equal_to_identical_scores(ranking):
    scores, gains = ranking
    same = (gains == 1).astype(float)
    equal = top_gains(np.zeros_like(scores), same, gains)
    chance = metrics.chance_gains(top_gains(scores, same, gains))
    assert equal.binary.tobytes() == chance.binary.tobytes()
    assert equal.graded.tobytes() == chance.graded.tobytes()


@pytest.mark.parametrize("function", [metrics.precisions, metrics.ndcgs])
@pytest.mark.parametrize(
    ("k", "message"),
    [
        (0, "cutoff k is 0; it must be at least 1"),
        (11, "cutoff k is 11; gains are available for the first 10 ranks"),
    ],
)
def test_invalid_cutoffs_are_rejected(function, k, message):
    with pytest.raises(ValueError, match=message):
        function(top_gains([2, 1], [1, 0], [1, 0]), k)


def test_a_query_without_a_gain_is_rejected():
    with pytest.raises(ValueError, match="query 0 has no item with a gain above 0"):
        metrics.ndcgs(top_gains([2, 1], [0, 0], [0, 0]), 1)
