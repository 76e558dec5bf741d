"""Gains by label agreement over whole rankings, against their definition with Python sets."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.label_reference import agreement, gains_of, ndcg, ndcg_like_scikit_learn, precision

from robustness import metrics
from robustness.ranking import rank_counts
from robustness.ranking.label_relevance import LabelRanking, LabelSets, label_rankings

DIRECTIONS = ("image_to_report", "report_to_image")
NAMES = ("edema", "fracture", "mass", "nodule")
SETS = st.frozensets(st.sampled_from(NAMES))


def collected(ranking, queries, gallery, **options):
    """Return the gains of one direction; they do not depend on the positives."""
    collector = ranking.collector()
    positives = np.zeros(len(queries), dtype=int)
    rank_counts(queries, gallery, positives, on_tile=collector, **options)
    return collector.gains()


def bits(gains):
    return [np.asarray(getattr(gains, part.name)).tobytes() for part in fields(gains)]


def by_scores(labels, text_of_image, scores):
    """Return the gains of both directions for a matrix of small integer scores."""
    scores = np.asarray(scores, dtype=np.float32)
    found = label_rankings(labels, np.asarray(text_of_image), depth=10, device="cpu")
    return {
        direction: collected(found[direction], by, np.eye(by.shape[1], dtype=np.float32))
        for direction, by in zip(DIRECTIONS, (scores, scores.T), strict=True)
    }


@st.composite
def collections(draw, largest=5, values=3):
    """Draw labels of images (some have none), the text of each, and scores with many ties."""
    images = draw(st.integers(2, largest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    _, text = np.unique(rng.integers(0, images, images), return_inverse=True)
    labels = [draw(SETS | st.none()) for _ in range(images)]
    labels[:2] = draw(st.tuples(SETS, SETS).filter(lambda pair: pair[0] != pair[1]))
    return labels, text, rng.integers(0, values, (images, text.max() + 1))


def large_collection(seed, images=60, dimensions=24):
    """Return embeddings on a grid of quarters (exact scores), 20 % of the images unlabelled."""
    rng = np.random.default_rng(seed)
    _, text = np.unique(rng.integers(0, images // 2, images), return_inverse=True)
    labels = [
        None if rng.random() < 0.2 else frozenset(n for n in NAMES if rng.random() < 0.3)
        for _ in range(images)
    ]
    of_images, of_texts = (
        (rng.integers(-2, 3, (n, dimensions)) / 4).astype(np.float32)
        for n in (images, text.max() + 1)
    )
    of_images[::7] = of_images[0]
    return labels, text, of_images, of_texts


# --- agreement -----------------------------------------------------------------------------


def test_label_sets_by_hand():
    sets = LabelSets.of([frozenset({"edema", "fracture"}), None, frozenset({"edema"})])
    assert sets.of_image.tolist() == [0, -1, 1]
    assert sets.agreement(np.array([0])).tolist() == [[[1, 0]], [[1, 0.5]]]


@given(st.lists(SETS, min_size=1, max_size=12))
def test_agreement_is_equality_and_the_jaccard_index(labels):
    sets = LabelSets.of(labels)
    assert len(sets) == len(set(labels))
    found = sets.agreement(np.arange(len(sets)))[:, sets.of_image][:, :, sets.of_image].numpy()
    expected = np.array([[agreement(one, other) for other in labels] for one in labels])
    np.testing.assert_allclose(found, np.moveaxis(expected, 2, 0), rtol=0, atol=2**-33)
    assert (found == found.transpose(0, 2, 1)).all()


def test_an_empty_label_set_agrees_only_with_another_empty_one():
    sets = LabelSets.of([frozenset(), frozenset({"mass"})])
    assert sets.agreement(np.array([0])).tolist() == [[[1, 0]], [[1, 0]]]
    assert LabelSets.of([frozenset()]).agreement(np.array([0])).tolist() == [[[1]], [[1]]]


# --- whole rankings ------------------------------------------------------------------------


def test_a_text_of_several_images_by_hand():
    """Text 0 has images 0 and 1, text 1 has image 2, text 2 has an unlabelled image."""
    one, two = frozenset({"mass"}), frozenset({"mass", "edema"})
    scores = [[3, 1, 9], [1, 3, 9], [3, 1, 9], [9, 9, 9]]
    found = by_scores([one, two, two, None], [0, 0, 1, 2], scores)
    to_report = found["image_to_report"]
    assert to_report.gallery_size == 2
    assert to_report.binary[:, :3].tolist() == [[0.5, 0, 0], [1, 0.5, 0], [0.5, 1, 0]]
    assert to_report.graded[:, :2].tolist() == [[0.75, 0.5], [1, 0.75], [0.75, 1]]
    to_image = found["report_to_image"]
    assert to_image.gallery_size == 3
    # Images 0 and 2 tie for text 0, both with binary gain 1/2 and graded gain 3/4.
    assert to_image.binary[0, :4].tolist() == [0.5, 0.5, 0.5, 0]
    assert to_image.graded[0, :3].tolist() == [0.75, 0.75, 0.75]
    assert to_image.binary[1, :3].tolist() == [1, 0.5, 0.5]


@settings(max_examples=60, deadline=None)
@given(collections())
def test_metrics_are_the_mean_over_every_tie_break(collection):
    labels, text, scores = collection
    found = by_scores(labels, text, scores)
    images, texts, gains = gains_of(labels, text)
    small = scores[np.ix_(images, texts)]
    for direction, by, same, overlap in (
        ("image_to_report", small, *gains),
        ("report_to_image", small.T, gains[0].T, gains[1].T),
    ):
        named = metrics.per_labelled_query(found[direction])
        for k in metrics.LABEL_CUTOFFS:
            rows = list(zip(by, same, overlap, strict=True))
            right = [precision(score, own, k) for score, own, _ in rows]
            assert named[f"precision@{k}"] == pytest.approx(right, abs=1e-9)
            graded = [ndcg(score, own, k) for score, _, own in rows]
            assert named[f"ndcg@{k}"] == pytest.approx(graded, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_larger_rankings_agree_with_scikit_learn(seed):
    labels, text, of_images, of_texts = large_collection(seed)
    found = label_rankings(labels, text, depth=10, device="cpu")
    images, texts, gains = gains_of(labels, text)
    scores = (of_images.astype(float) @ of_texts.T.astype(float))[np.ix_(images, texts)]
    to_report = collected(found["image_to_report"], of_images, of_texts)
    to_image = collected(found["report_to_image"], of_texts, of_images)
    for k in (1, 3, 10):
        expected = [ndcg_like_scikit_learn(g, s, k) for g, s in zip(gains[1], scores, strict=True)]
        assert metrics.ndcgs(to_report, k) == pytest.approx(expected, abs=1e-8)
        rows = zip(gains[1].T, scores.T, strict=True)
        expected = [ndcg_like_scikit_learn(g, s, k) for g, s in rows]
        assert metrics.ndcgs(to_image, k) == pytest.approx(expected, abs=1e-8)
    assert found["image_to_report"].queries.index.tolist() == images
    assert found["report_to_image"].queries.index.tolist() == texts


@given(collections(largest=20, values=50))
@settings(max_examples=50, deadline=None)
def test_metrics_stay_in_their_ranges(collection):
    for gains in by_scores(*collection).values():
        for name, values in metrics.per_labelled_query(gains).items():
            low, high = metrics.RANGES[name]
            assert (low <= values).all(), name
            assert (values <= high).all(), name


def test_perfect_retrieval_has_ndcg_one_and_the_worst_the_lowest():
    labels, text, of_images, of_texts = large_collection(4)
    found = label_rankings(labels, text, depth=10, device="cpu")["image_to_report"]
    images, texts, gains = gains_of(labels, text)
    scores = torch.zeros(len(of_images), len(of_texts))
    scores[np.ix_(images, texts)] = torch.from_numpy(gains[1]).float()
    image_ids = np.arange(len(of_images), dtype=np.float32)[:, None]
    text_ids = np.arange(len(of_texts), dtype=np.float32)[:, None]

    def score(sign):
        def look_up(queries, gallery):
            return sign * scores[queries[:, 0].long()][:, gallery[:, 0].long()]

        return look_up

    best, worst = (
        metrics.per_labelled_query(collected(found, image_ids, text_ids, score=score(sign)))
        for sign in (1, -1)
    )
    for k in metrics.LABEL_CUTOFFS:
        # Texts of equal relevance may differ by a grain, and float32 scores then tie.
        assert best[f"ndcg@{k}"] == pytest.approx(1, abs=1e-9)
        lowest = [ndcg_like_scikit_learn(gain, -gain, k) for gain in gains[1]]
        assert worst[f"ndcg@{k}"] == pytest.approx(lowest, abs=1e-8)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_identical_scores_are_bitwise_equal_to_chance(direction):
    labels, text, of_images, of_texts = large_collection(5)
    rows = {"image_to_report": (of_images, of_texts), "report_to_image": (of_texts, of_images)}
    queries, gallery = rows[direction]
    ranking = label_rankings(labels, text, depth=10, device="cpu")[direction]
    equal = collected(ranking, np.ones_like(queries), np.ones_like(gallery))
    assert bits(equal) == bits(metrics.chance_gains(collected(ranking, queries, gallery)))


# --- invariance --------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_tiles_of_any_size_give_the_same_bits(direction):
    labels, text, of_images, of_texts = large_collection(6)
    sets = LabelSets.of(labels)
    images, texts = sets.of_items(np.arange(len(labels))), sets.of_items(text)
    sides = (of_images, of_texts, images, texts)
    if direction == "report_to_image":
        sides = (of_texts, of_images, texts, images)
    queries, gallery, query_labels, gallery_labels = sides
    whole = bits(
        collected(LabelRanking(sets, query_labels, gallery_labels, depth=10), queries, gallery)
    )
    for tile_bytes in (1, 1000, 3000, 16_000, 10**6):
        for tile_rows in (None, 1, 7, 31):
            ranking = LabelRanking(
                sets, query_labels, gallery_labels, depth=10, tile_bytes=tile_bytes
            )
            found = collected(ranking, queries, gallery, tile_rows=tile_rows)
            assert bits(found) == whole, (tile_bytes, tile_rows)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_permuting_the_gallery_changes_no_bit(direction, seed):
    labels, text, of_images, of_texts = large_collection(seed)
    rng = np.random.default_rng(seed)
    # Off the grid: products are rounded, and only equal rows tie.
    of_images += 0.01 * rng.standard_normal(24).astype(np.float32)
    images, texts = rng.permutation(len(of_images)), rng.permutation(len(of_texts))
    before, after = (
        (text, of_images, of_texts),
        (np.argsort(texts)[text], of_images, of_texts[texts]),
    )
    if direction == "report_to_image":
        after = (text[images], of_images[images], of_texts)
        moved = [labels[i] for i in images]
    else:
        moved = labels
    found = []
    for own, (of_image, *rows) in ((labels, before), (moved, after)):
        ranking = label_rankings(own, of_image, depth=10, device="cpu")[direction]
        queries, gallery = rows if direction == "image_to_report" else reversed(rows)
        found.append(bits(collected(ranking, queries, gallery)))
    assert found[0] == found[1]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_permuting_queries_permutes_the_gains(direction):
    labels, text, of_images, of_texts = large_collection(7)
    rng = np.random.default_rng(7)
    images, texts = rng.permutation(len(of_images)), rng.permutation(len(of_texts))
    before = label_rankings(labels, text, depth=10, device="cpu")[direction]
    after = label_rankings(
        [labels[i] for i in images], np.argsort(texts)[text[images]], depth=10, device="cpu"
    )[direction]
    if direction == "image_to_report":
        order = images
        old = collected(before, of_images, of_texts)
        new = collected(after, of_images[images], of_texts[texts])
    else:
        order = texts
        old = collected(before, of_texts, of_images)
        new = collected(after, of_texts[texts], of_images[images])
    labelled = before.queries.index.tolist()
    at = [labelled.index(i) for i in order if i in labelled]
    for name in ("binary", "graded", "ideal", "mean_binary", "mean_graded"):
        assert getattr(new, name).tobytes() == getattr(old, name)[at].tobytes(), name


# --- too few labels ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        [None, None, None],
        [frozenset({"mass"}), None, None],
        [frozenset({"mass"})] * 3,
        [frozenset()] * 3,
    ],
)
def test_fewer_than_two_label_sets_give_no_ranking(labels):
    assert label_rankings(labels, np.arange(3), depth=10, device="cpu") == {}
