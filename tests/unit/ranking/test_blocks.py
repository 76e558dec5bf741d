"""``rank_both`` against brute force, each direction alone, and the three silent errors."""

from __future__ import annotations

import io
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ranking import brute_force, grid_rows, unit_rows

from robustness.ranking import rank_both, rank_counts


def arrays(counts):
    return {name: values.tolist() for name, values in counts.arrays().items()}


def from_texts(text_of_image):
    """Return the positives of both directions under the policy ``identical_text``."""
    text = np.asarray(text_of_image)
    return text, [np.flatnonzero(text == report) for report in range(text.max() + 1)]


@st.composite
def matched(draw):
    """Draw images and reports with exact scores, many of them equal, and arbitrary positives."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, m = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    images, reports = grid_rows(rng, n), grid_rows(rng, m)
    for rows in (images, reports):
        rows[rng.random(len(rows)) < draw(st.sampled_from([0, 0.3, 1]))] = rows[0]
    right = rng.random((n, m)) < draw(st.sampled_from([0, 0.1, 0.5]))
    right[np.arange(n), rng.integers(0, m, n)] = True
    right[rng.integers(0, n, m), np.arange(m)] = True
    return images, reports, right


@settings(max_examples=300, deadline=None)
@given(matched(), st.tuples(st.integers(1, 35), st.integers(1, 35)))
def test_counts_equal_brute_force_in_both_directions(problem, block):
    images, reports, right = problem
    of_image, of_report = ([np.flatnonzero(row) for row in each] for each in (right, right.T))
    both = rank_both(images, reports, of_image, of_report, block=block)
    sides = ((images, reports, of_image), (reports, images, of_report))
    for counts, (queries, gallery, positives) in zip(both, sides, strict=True):
        greater, equal, tied = brute_force(queries, gallery, positives)
        assert counts.greater.tolist() == greater
        assert counts.equal.tolist() == equal
        assert counts.tied.tolist() == tied
        assert arrays(counts) == arrays(rank_counts(queries, gallery, positives))
        assert counts.gallery_size == len(gallery)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (257, 129), (64, 1000)])
@pytest.mark.parametrize("block", [(1, 1000), (512, 7), (64, 128), None])
def test_blocks_of_awkward_sizes_agree_with_each_direction_alone(shape, block):
    rng = np.random.default_rng(1)
    images, reports = unit_rows(rng, shape[0], 32), unit_rows(rng, shape[1], 32)
    of_image, of_report = (
        rng.integers(0, shape[1], shape[0]),
        rng.integers(0, shape[0], shape[1]),
    )
    to_report, to_image = rank_both(images, reports, of_image, of_report, block=block)
    assert arrays(to_report) == arrays(rank_counts(images, reports, of_image))
    assert arrays(to_image) == arrays(rank_counts(reports, images, of_report))


def test_texts_shared_by_several_images():
    rng = np.random.default_rng(2)
    text, images_of = from_texts(np.r_[np.arange(40), rng.integers(0, 5, 60)])
    images, reports = unit_rows(rng, 100), unit_rows(rng, 40)
    to_report, to_image = rank_both(images, reports, text, images_of, block=(16, 16))
    assert to_image.positives.max() > 5
    assert arrays(to_report) == arrays(rank_counts(images, reports, text))
    assert arrays(to_image) == arrays(rank_counts(reports, images, images_of))


# --- the three silent errors -----------------------------------------------------------------


@pytest.mark.parametrize("constant", ["images", "reports", "both"])
def test_equal_embeddings_give_chance(constant):
    rng = np.random.default_rng(0)
    images, reports = unit_rows(rng, 200), unit_rows(rng, 200)
    if constant != "reports":
        images = np.repeat(images[:1], 200, axis=0)
    if constant != "images":
        reports = np.repeat(reports[:1], 200, axis=0)
    to_report, to_image = rank_both(images, reports, np.arange(200), np.arange(200))
    blind = [
        side
        for side, what in ((to_report, "reports"), (to_image, "images"))
        if constant in {what, "both"}
    ]
    for counts in blind:
        assert (counts.greater == 0).all()
        assert (counts.equal == 199).all()
    for counts in (to_report, to_image):
        assert np.mean(counts.greater + counts.equal / 2) == pytest.approx(99.5, abs=15)


@pytest.mark.parametrize("size", [3, 31, 97, 250, 333])
def test_the_positive_is_excluded_by_index(size):
    rng = np.random.default_rng(size)
    rows = unit_rows(rng, size, 512)
    for counts in rank_both(rows, rows.copy(), np.arange(size), np.arange(size), block=(50, 60)):
        assert (counts.greater == 0).all()
        assert (counts.equal == 0).all()


def test_a_copy_of_the_positive_ties_with_it():
    """Computed separately, a positive's score equals its copy's only one time in five."""
    rng = np.random.default_rng(5)
    images, texts = unit_rows(rng, 300, 512), unit_rows(rng, 300, 512)
    reports = np.concatenate([texts, texts])
    to_report, _ = rank_both(images, reports, np.arange(300), np.arange(600) % 300, block=(64, 100))
    assert (to_report.equal == 1).all()
    assert (to_report.greater % 2 == 0).all()


@pytest.mark.parametrize("size", [7, 64, 257])
def test_permuting_changes_nothing(size):
    rng = np.random.default_rng(size)
    reports = unit_rows(rng, size, 192)[rng.integers(0, size, 2 * size)]
    images = unit_rows(rng, 2 * size, 192)
    of_image, of_report = rng.permutation(2 * size), rng.permutation(2 * size)
    block = (size // 2, size // 3 + 1)
    to_report, to_image = rank_both(images, reports, of_image, of_report, block=block)
    for _ in range(5):
        rows, columns = rng.permutation(2 * size), rng.permutation(2 * size)
        moved = rank_both(
            images[rows],
            reports[columns],
            np.argsort(columns)[of_image[rows]],
            np.argsort(rows)[of_report[columns]],
            block=block,
        )
        for name in ("greater", "equal", "tied"):
            assert (getattr(moved[0], name) == getattr(to_report, name)[rows]).all()
            assert (getattr(moved[1], name) == getattr(to_image, name)[columns]).all()


# --- inputs, precision and progress --------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.full((3, 4), np.nan, np.float32)}, "images contain 12 values that are not"),
        ({"reports": np.zeros((0, 4), np.float32)}, "there are no reports"),
        ({"reports": np.zeros((2, 5), np.float32)}, r"images have shape \[3, 4\] and reports \[2,"),
        ({"reports_of_image": [0, 1, 2]}, "query 2 has positive 2; the gallery has 2 items"),
        ({"images_of_report": [[0], []]}, "query 1 has no positive"),
    ],
)
def test_invalid_input_is_rejected(change, message):
    rng = np.random.default_rng(0)
    arguments = {"images": unit_rows(rng, 3, 4), "reports": unit_rows(rng, 2, 4)}
    arguments |= {"reports_of_image": [0, 1, 1], "images_of_report": [[0], [1, 2]]} | change
    with pytest.raises(ValueError, match=message):
        rank_both(**arguments)


def test_plain_indexes_are_one_positive_per_query():
    rng = np.random.default_rng(3)
    rows = unit_rows(rng, 4)
    plain = rank_both(rows, rows, [3, 2, 1, 0], [3, 2, 1, 0])
    listed = rank_both(rows, rows, [[3], [2], [1], [0]], [[3], [2], [1], [0]])
    for one, other in zip(plain, listed, strict=True):
        assert arrays(one) == arrays(other)
    assert arrays(rank_counts(rows, rows, [3, 2, 1, 0])) == arrays(plain[0])


def test_scores_are_full_float32_whatever_the_setting():
    import torch

    rng = np.random.default_rng(4)
    rows = unit_rows(rng, 50)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        near = rows + 1e-4 * unit_rows(rng, 50)
        both = rank_both(rows, near, np.arange(50), np.arange(50))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert not any(counts.greater.any() for counts in both)


def test_counts_are_int64():
    rng = np.random.default_rng(7)
    text, images_of = from_texts(np.r_[np.arange(10), 0, 0])
    for counts in rank_both(unit_rows(rng, 12), unit_rows(rng, 10), text, images_of):
        assert {array.dtype for array in counts.arrays().values()} == {np.dtype(np.int64)}


def test_only_queries_that_are_not_simple_are_scored_again(monkeypatch):
    rescored = []

    def spy(queries, *arguments):
        rescored.append(len(queries))
        return rank_counts(queries, *arguments)

    monkeypatch.setattr("robustness.ranking._blocks.rank_counts", spy)
    rng = np.random.default_rng(8)
    rank_both(unit_rows(rng, 40), unit_rows(rng, 40), np.arange(40), np.arange(40))
    assert rescored == []
    text, images_of = from_texts(np.r_[np.arange(38), 0, 0])
    rank_both(unit_rows(rng, 40), unit_rows(rng, 38), text, images_of)
    assert rescored == [1], "one text belongs to several images"


def test_progress_is_reported_for_every_block(monkeypatch):
    rows, stream, calls = unit_rows(np.random.default_rng(6), 40), io.StringIO(), []

    @contextmanager
    def bar(*arguments):
        calls.append(arguments)
        yield calls.append

    monkeypatch.setattr("robustness.ranking._blocks.progress", bar)
    rank_both(rows, rows[:30], np.arange(40) % 30, np.arange(30), block=(16, 20), stream=stream)
    assert calls == [(6, "ranking", "blocks", stream), 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(("free", "at_once"), [(2**33, 2**30), (2**37, 2**31), (2**20, 32 * 2**20)])
def test_blocks_grow_with_the_free_memory(monkeypatch, free, at_once):
    import torch

    from robustness.ranking._blocks import BLOCK, _block_for
    from robustness.ranking._inputs import TILE_BYTES, score_bytes

    gpu = torch.device("cuda:1")
    monkeypatch.setattr(torch.cuda, "mem_get_info", {gpu: (free, 2**40)}.__getitem__)
    assert score_bytes(gpu) == at_once
    height, width = _block_for(gpu)
    assert height == width
    assert 8 * height * width <= at_once < 8 * (height + 1) * (width + 1)
    assert score_bytes(torch.device("cpu")) == TILE_BYTES
    assert _block_for(torch.device("cpu")) == BLOCK
