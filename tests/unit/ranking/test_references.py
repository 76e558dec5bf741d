"""Rank counts against scipy's ``rankdata`` and float64; custom score functions."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from robustness.metrics import chance_counts
from robustness.metrics.rank_counts import RankCounts
from robustness.ranking import rank_counts

PARTS = ("greater", "equal", "tied", "positives", "pair_greater", "pair_equal")


def reference(scores, positives):
    """Return the counts of float64 scores ``[Q, G]``, from their ranks in descending order."""
    found = {name: [] for name in PARTS}
    for row, right in zip(np.asarray(scores, dtype=np.float64), positives, strict=True):
        first, last = rankdata(-row, "min"), rankdata(-row, "max")
        best = right[int(np.argmin(first[right]))]
        tied = int((row[right] == row[best]).sum())
        found["greater"].append(first[best] - 1)
        found["equal"].append(last[best] - first[best] + 1 - tied)
        found["tied"].append(tied)
        found["positives"].append(len(right))
        found["pair_greater"] += (first[right] - 1).tolist()
        found["pair_equal"] += (last[right] - first[right]).tolist()
    return {name: np.array(values, dtype=np.int64) for name, values in found.items()}


def same(counts, expected):
    for name, values in counts.arrays().items():
        assert values.tolist() == expected[name].tolist(), name
        assert values.dtype == np.int64


@st.composite
def matrices(draw):
    """Draw scores with ties, and one to five positives per query, in any order."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    scores = rng.integers(0, draw(st.sampled_from([1, 2, 5, 1000])), shape) / 8
    most = min(5, shape[1])
    positives = [rng.choice(shape[1], rng.integers(1, most + 1), replace=False) for _ in scores]
    return scores, positives, rng


def by_number(scores, **options):
    """Rank a score matrix: embeddings are indexes, and the score function looks them up."""

    def look_up(queries, gallery):
        rows, columns = queries[:, 0].long(), gallery[:, 0].long()
        return torch.from_numpy(scores)[rows][:, columns]

    queries, gallery = (np.arange(n, dtype=np.float32)[:, None] for n in scores.shape)
    return lambda positives: rank_counts(queries, gallery, positives, score=look_up, **options)


@settings(max_examples=80)
@given(matrices(), st.integers(1, 31))
def test_custom_scores_are_ranked_as_by_scipy(problem, tile):
    scores, positives, _ = problem
    same(by_number(scores, tile_rows=tile)(positives), reference(scores, positives))


@settings(max_examples=60)
@given(matrices())
def test_dot_products_are_ranked_as_by_scipy(problem):
    scores, positives, _ = problem
    counts = rank_counts(scores, np.eye(scores.shape[1]), positives)
    same(counts, reference(scores, positives))
    assert len(counts) == len(scores)
    assert counts.gallery_size == scores.shape[1]


@settings(max_examples=60)
@given(matrices())
def test_permuting_queries_items_and_positives_permutes_the_counts(problem):
    scores, positives, rng = problem
    rows, columns = (rng.permutation(n) for n in scores.shape)
    position = np.argsort(columns)
    permuted = [position[positives[row]] for row in rows]
    same(
        by_number(scores[np.ix_(rows, columns)])(permuted),
        reference(scores[rows], [positives[row] for row in rows]),
    )


@settings(max_examples=60)
@given(matrices(), st.integers(2, 4))
def test_repeated_gallery_items_count_each(problem, times):
    """Equal rows are scored once and counted as often as they occur."""
    scores, positives, rng = problem
    of_item = rng.permutation(np.repeat(np.arange(scores.shape[1]), times))
    occurrences = [
        [int(rng.choice(np.flatnonzero(of_item == item))) for item in own] for own in positives
    ]
    counts = rank_counts(scores, np.eye(scores.shape[1])[of_item], occurrences)
    same(counts, reference(scores[:, of_item], occurrences))


def test_every_item_is_a_positive():
    scores = np.array([[3.0, 1.0, 3.0, 0.0]])
    counts = rank_counts(scores, np.eye(4), [[3, 2, 1, 0]])
    assert (counts.greater.tolist(), counts.equal.tolist(), counts.tied.tolist()) == ([0], [0], [2])
    assert counts.pair_greater.tolist() == [3, 0, 2, 0]
    assert counts.pair_equal.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("size", [50, 400])
def test_ranks_differ_from_float64_only_within_float32_rounding(size):
    rng = np.random.default_rng(size)
    queries, gallery = (rng.standard_normal((size, 96)) for _ in range(2))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    counts = rank_counts(queries, gallery, np.arange(size))
    scores = queries @ gallery.T
    own = np.diag(scores)[:, None]
    # 96 products of unit vectors: rounding of inputs and sums stays below 1e-6.
    surely, perhaps = (scores > own + 1e-6).sum(1), (scores > own - 1e-6).sum(1)
    assert (surely <= counts.greater).all()
    assert (counts.greater + counts.equal + counts.tied <= perhaps).all()
    assert (perhaps - surely).max() <= 3, "the band must be narrow"


# --- optional arguments ----------------------------------------------------------


def test_the_tile_callback_receives_the_ranked_scores():
    rng = np.random.default_rng(1)
    scores, of_item = rng.integers(0, 4, (11, 6)) / 2, rng.integers(0, 6, 9)
    tiles, starts = [], []

    def on_tile(start, tile, columns):
        starts.append(start)
        tiles.append(tile[:, columns.of_item].numpy())
        assert columns.copies.sum() == 9
        assert columns.copies.tolist() == torch.bincount(columns.of_item).tolist()

    positives = rng.integers(0, 9, 11)
    rank_counts(scores, np.eye(6)[of_item], positives, tile_rows=4, on_tile=on_tile)
    assert starts == [0, 4, 8]
    assert np.concatenate(tiles).tolist() == scores[:, of_item].tolist()


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint16, np.int64])
def test_positives_may_have_any_integer_dtype(dtype):
    scores = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    counts = rank_counts(scores, np.eye(3), np.array([0, 0], dtype=dtype))
    assert counts.greater.tolist() == [2, 0]
    rows = rank_counts(scores, np.eye(3), np.array([[0, 1], [0, 2]], dtype=dtype))
    assert rows.greater.tolist() == [1, 0]
    assert rows.pair_greater.tolist() == [2, 1, 0, 2]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda q, g: torch.zeros(len(q), len(g) + 1), r"scores have shape \[2, 4\]; expected"),
        (lambda q, g: torch.zeros(len(q)), r"scores have shape \[2\]; expected \[2, 3\]"),
        (lambda q, g: torch.full((len(q), len(g)), torch.nan), "scores contain values"),
    ],
)
def test_invalid_scores_are_rejected(made, message):
    with pytest.raises(ValueError, match=message):
        rank_counts(np.eye(3)[:2], np.eye(3), [[0], [1]], score=made)


def test_the_default_tile_is_32_mib():
    tiles = []

    def on_tile(start, tile, columns):
        tiles.append(tile.shape)

    gallery = np.arange(2**20, dtype=np.float32)[:, None]
    rank_counts(np.ones((20, 1)), gallery, np.zeros(20, dtype=int), on_tile=on_tile)
    assert [shape[0] for shape in tiles] == [8, 8, 4]


def test_counts_survive_a_round_trip_through_lists():
    counts = rank_counts(np.eye(3), np.eye(3), [[0, 1], [1], [2]])
    again = RankCounts.of({k: v.tolist() for k, v in counts.arrays().items()}, 3)
    assert set(counts.arrays()) == set(PARTS)
    same(again, counts.arrays())
    assert again.gallery_size == 3


def test_a_tensor_that_requires_grad_is_ranked():
    rows = torch.eye(3, requires_grad=True)
    assert rank_counts(rows, rows, [[0], [1], [2]]).greater.tolist() == [0, 0, 0]


def test_chance_has_counts_of_the_same_shapes():
    counts = rank_counts(np.eye(4), np.eye(4), [[0, 1], [1], [2, 3, 0], [3]])
    for name, values in chance_counts(counts).arrays().items():
        assert values.shape == counts.arrays()[name].shape, name
        assert values.dtype == np.int64


# --- distinct rows -----------------------------------------------------------------------


def distinct(gallery):
    """Return the distinct rows of a gallery."""
    tiles = []
    width = gallery.shape[1]
    rank_counts(np.ones((1, width)), gallery, [[0]], on_tile=lambda _, __, each: tiles.append(each))
    return tiles[0]


def test_equal_rows_are_merged_and_others_are_not():
    rng = np.random.default_rng(2)
    own = rng.random((20_000, 2), dtype=np.float32)
    order = rng.permutation(np.repeat(np.arange(20_000), 2))
    columns = distinct(own[order])
    assert columns.rows.shape == own.shape
    assert columns.copies.tolist() == [2] * 20_000
    assert columns.rows[columns.of_item].numpy().tolist() == own[order].tolist()


def test_rows_with_permuted_values_are_distinct():
    """Also: their order depends on neither the caller's order nor the run."""
    rng = np.random.default_rng(3)
    own = np.array(list(permutations(np.arange(5, dtype=np.float32))))
    columns = distinct(np.concatenate([own, own]))
    assert columns.copies.tolist() == [2] * 120
    assert len({tuple(row) for row in columns.rows.tolist()}) == 120
    for _ in range(3):
        again = distinct(rng.permutation(np.concatenate([own, own])))
        assert again.rows.tolist() == columns.rows.tolist()


def test_negative_zero_equals_zero_and_small_numbers_do_not():
    assert len(distinct(np.array([[0.0, 1.0], [-0.0, 1.0]], np.float32)).rows) == 1
    assert len(distinct(np.array([[1e-10], [2e-10], [0.0]], np.float32)).rows) == 3
