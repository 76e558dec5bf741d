"""Rank counts against brute force in float64, and the three silent errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ranking import brute_force, grid_rows, unit_rows


@st.composite
def exact_problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_queries, n_gallery = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    queries, gallery = grid_rows(rng, n_queries), grid_rows(rng, n_gallery)
    gallery[rng.random(n_gallery) < draw(st.floats(0, 0.5))] = gallery[0]
    positives = [
        rng.choice(n_gallery, size=rng.integers(1, n_gallery + 1), replace=False).tolist()
        for _ in range(n_queries)
    ]
    return queries, gallery, positives


# --- the three silent errors -----------------------------------------------------------------


def test_equal_embeddings_give_chance_not_a_perfect_score():
    """A rank by strict ``>`` puts every positive first if all scores are equal."""
    from robustness.metrics import hit_at
    from robustness.ranking import rank_counts

    rng = np.random.default_rng(0)
    constant = np.repeat(unit_rows(rng, 1), 200, axis=0)
    reports = unit_rows(rng, 200)
    pairs = np.arange(200)
    to_image = rank_counts(reports, constant, pairs)
    assert (to_image.greater == 0).all()
    assert (to_image.equal == 199).all()
    assert hit_at(to_image, 1) == pytest.approx(1 / 200)
    assert hit_at(to_image, 10) == pytest.approx(10 / 200)
    to_report = rank_counts(constant, reports, pairs)
    assert hit_at(to_report, 10) == pytest.approx(10 / 200)


@pytest.mark.parametrize("size", [3, 31, 97, 250, 333])
def test_the_positive_is_excluded_by_index_not_by_score(size):
    """A positive's score computed separately differs in its last bits from the tile's."""
    from robustness.ranking import rank_counts

    rng = np.random.default_rng(size)
    rows = unit_rows(rng, size, 512)
    counts = rank_counts(rows, rows.copy(), np.arange(size))
    assert (counts.greater == 0).all()
    assert (counts.equal == 0).all()


@pytest.mark.parametrize("size", [7, 64, 257])
def test_permuting_the_gallery_changes_nothing(size):
    """A column's position in the matrix product changes the last bits of its score."""
    from robustness.ranking import rank_counts

    rng = np.random.default_rng(size)
    unique = unit_rows(rng, size, 192)
    gallery = unique[rng.integers(0, size, 3 * size)]
    queries = unit_rows(rng, size, 192)
    positives = [rng.choice(3 * size, size=1 + i % 3, replace=False) for i in range(size)]
    expected = rank_counts(queries, gallery, positives)
    assert expected.equal.any(), "the gallery repeats, so some positives must tie"
    for _ in range(5):
        order = rng.permutation(len(gallery))
        position = np.argsort(order)
        counts = rank_counts(queries, gallery[order], [position[own] for own in positives])
        for name in ("greater", "equal", "tied", "pair_greater", "pair_equal"):
            permuted, original = getattr(counts, name), getattr(expected, name)
            assert (permuted == original).all(), name


# --- brute force ---------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(exact_problems(), st.integers(1, 50))
def test_counts_equal_brute_force(problem, tile):
    from robustness.ranking import rank_counts

    queries, gallery, positives = problem
    counts = rank_counts(queries, gallery, positives, tile_rows=tile)
    greater, equal, tied = brute_force(queries, gallery, positives)
    assert counts.greater.tolist() == greater
    assert counts.equal.tolist() == equal
    assert counts.tied.tolist() == tied
    scores = queries.astype(np.float64) @ gallery.astype(np.float64).T
    above = [(scores[q] > scores[q, i]).sum() for q, right in enumerate(positives) for i in right]
    level = [
        (scores[q] == scores[q, i]).sum() - 1 for q, right in enumerate(positives) for i in right
    ]
    assert counts.pair_greater.tolist() == above
    assert counts.pair_equal.tolist() == level
    assert counts.positives.tolist() == [len(right) for right in positives]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (127, 129), (64, 1000)])
@pytest.mark.parametrize("tile", [1, 3, 64, 4096])
def test_tiles_agree_with_the_whole_matrix(shape, tile):
    from robustness.ranking import rank_counts

    rng = np.random.default_rng(1)
    queries, gallery = grid_rows(rng, shape[0], 32), grid_rows(rng, shape[1], 32)
    positives = rng.integers(0, shape[1], shape[0])
    counts = rank_counts(queries, gallery, positives, tile_rows=tile)
    greater, equal, _ = brute_force(queries, gallery, positives[:, None].tolist())
    assert counts.greater.tolist() == greater
    assert counts.equal.tolist() == equal


def test_arrays_tensors_and_lists_give_the_same_counts():
    import torch

    from robustness.ranking import rank_counts

    rng = np.random.default_rng(2)
    queries, gallery = unit_rows(rng, 5), unit_rows(rng, 9)
    positives = [[1], [2, 3], [4], [0], [8]]
    arrays = rank_counts(queries, gallery, positives)
    tensors = rank_counts(
        torch.from_numpy(queries), torch.from_numpy(gallery), [np.array(p) for p in positives]
    )
    assert (arrays.greater == tensors.greater).all()
    assert isinstance(arrays.greater, np.ndarray)


def test_reduced_precision_settings_do_not_reach_the_scores():
    import torch

    from robustness.ranking import rank_counts

    rng = np.random.default_rng(3)
    rows = unit_rows(rng, 50)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        counts = rank_counts(rows, rows + 1e-4 * unit_rows(rng, 50), np.arange(50))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert (counts.greater == 0).all()


# --- invalid input -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": np.full((2, 4), np.nan, np.float32)}, "queries contain 8 values that are not"),
        (
            {"gallery": np.full((3, 4), np.inf, np.float32)},
            "gallery contains 12 values that are not",
        ),
        ({"queries": np.zeros((0, 4), np.float32)}, "there are no queries"),
        ({"gallery": np.zeros((0, 4), np.float32)}, "there is no gallery"),
        ({"queries": np.zeros((2, 5), np.float32)}, r"\[2, 5\] and gallery \[3, 4\]"),
        ({"queries": np.zeros(4, np.float32)}, r"queries has shape \[4\]"),
        ({"positives": [[0], []]}, "query 1 has no positive"),
        ({"positives": [[0]]}, "1 lists of positives for 2 queries"),
        ({"positives": [[0], [3]]}, "query 1 has positive 3; the gallery has 3 items"),
        ({"positives": [[0], [-1]]}, "query 1 has positive -1"),
        ({"positives": [[0], [1, 1]]}, "query 1 has duplicate positive 1"),
        ({"positives": [[0.5], [1]]}, "positives must be integers, not float64"),
    ],
)
def test_invalid_input_is_rejected(change, message):
    from robustness.ranking import rank_counts

    rng = np.random.default_rng(0)
    arguments = {"queries": unit_rows(rng, 2, 4), "gallery": unit_rows(rng, 3, 4)}
    arguments |= {"positives": [[0], [1]]} | change
    with pytest.raises(ValueError, match=message):
        rank_counts(**arguments)
