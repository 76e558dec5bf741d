"""Metrics with intervals, against explicit resampling of studies and against scipy."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from robustness import metrics
from robustness.evalset import match
from robustness.metrics import estimates
from robustness.metrics.bootstrap import Replicates
from robustness.metrics.estimates import Estimator, Ranked, chances
from robustness.ranking import rank_counts
from robustness.ranking.label_relevance import label_rankings

IMAGES = 40
SEED = 11
DIRECTIONS = ("image_to_report", "report_to_image")


def collection(seed=0, *, images=IMAGES, alone=False, unlabelled=0.25):
    """Return a random collection: studies, matching of texts to images, and labels.

    Args:
        seed: Seed of the collection.
        images: Number of images.
        alone: True if each image has its own study and its own text.
        unlabelled: The fraction of images without labels.
    """
    rng = np.random.default_rng(seed)
    studies = [f"s{i}" for i in (range(images) if alone else rng.integers(0, images // 2, images))]
    texts = [f"t{i}" for i in (range(images) if alone else rng.integers(0, images // 2, images))]
    labels = [
        None if rng.random() < unlabelled else frozenset(n for n in "abc" if rng.random() < 0.4)
        for _ in range(images)
    ]
    return studies, match(texts, studies, "identical_text"), labels


def ranked(matching, labels, seed=0, *, values=9):
    """Return rankings by integer scores from 0 to values - 1, with frequent ties."""
    rng = np.random.default_rng(seed)
    images, texts = len(matching.text_of_image), len(matching.texts)
    scores = rng.integers(0, values, (images, texts)).astype(np.float32)
    relevance = label_rankings(labels, matching.text_of_image, depth=10, device="cpu")
    found = {}
    for direction, by, right in (
        ("image_to_report", scores, matching.reports_of_image),
        ("report_to_image", scores.T, matching.images_of_report),
    ):
        collector = relevance[direction].collector()
        counts = rank_counts(by, np.eye(by.shape[1], dtype=np.float32), right, on_tile=collector)
        found[direction] = Ranked(counts, collector.gains(), relevance[direction].queries.index)
    return found


def drawn(studies, replicates):
    """Yield the images of each resample."""
    names, of_image = np.unique(studies, return_inverse=True)
    counts = np.random.Generator(np.random.Philox(key=SEED)).multinomial(
        len(names), [1 / len(names)] * len(names), size=replicates
    )
    for row in counts:
        yield [i for i in range(len(studies)) for _ in range(row[of_image[i]])]


def shares(matching, direction):
    """Return the query of each image, and the image's share of it."""
    text = matching.text_of_image
    if direction == "image_to_report":
        return np.arange(len(text)), [Fraction(1)] * len(text)
    return text, [Fraction(1, int((text == own).sum())) for own in text]


def weighted_median(values, weights):
    """Return the weighted median by definition: half of the weight is on each side."""
    rows = sorted(zip(values, weights, strict=True))
    half = sum(weights) / 2
    low = next(v for i, (v, _) in enumerate(rows) if sum(w for _, w in rows[: i + 1]) >= half)
    high = next(v for i, (v, _) in enumerate(rows) if sum(w for _, w in rows[: i + 1]) > half)
    return (low + high) / 2


@pytest.fixture
def few_replicates(monkeypatch):
    monkeypatch.setattr(estimates, "REPLICATES", 60)
    return 60


# --- replicates ----------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_label_metrics_are_means_over_the_drawn_labelled_images(few_replicates, direction):
    studies, matching, labels = collection()
    found = ranked(matching, labels)
    named = Estimator(matching, studies, SEED).replicates(found)[direction]
    query, weights = shares(matching, direction)
    index = found[direction].labelled.tolist()
    assert 0 < len(index) < len(found[direction].counts)
    for name, values in metrics.per_labelled_query(found[direction].gains).items():
        assert named[name].value == pytest.approx(values.mean())
        expected = []
        for images in drawn(studies, few_replicates):
            labelled = [i for i in images if query[i] in index]
            terms = [float(weights[i]) * values[index.index(query[i])] for i in labelled]
            expected.append(sum(terms) / float(sum(weights[i] for i in labelled)))
        assert named[name].resampled == pytest.approx(expected), name


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_other_metrics_are_means_over_all_the_drawn_images(few_replicates, direction):
    studies, matching, labels = collection(1)
    found = ranked(matching, labels)
    named = Estimator(matching, studies, SEED).replicates(found)
    query, weights = shares(matching, direction)
    resamples = list(drawn(studies, few_replicates))
    for name, values in metrics.per_query(found[direction].counts).items():
        assert named[direction][name].value == pytest.approx(values.mean())
        expected = [
            sum(float(weights[i]) * values[query[i]] for i in images)
            / float(sum(weights[i] for i in images))
            for images in resamples
        ]
        assert named[direction][name].resampled == pytest.approx(expected), name
    both = [named[way][f"hit@{k}"] for way in DIRECTIONS for k in (1, 5, 10)]
    assert named[direction]["rsum"].value == pytest.approx(sum(part.value for part in both))
    assert named[direction]["rsum"].resampled == pytest.approx(sum(p.resampled for p in both))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_median_ranks_are_medians_of_the_drawn_images(few_replicates, direction, seed):
    studies, matching, labels = collection(seed)
    found = ranked(matching, labels, seed)
    named = Estimator(matching, studies, SEED).replicates(found)[direction]
    query, weights = shares(matching, direction)
    ranks = metrics.ranks(found[direction].counts)
    assert named["median_rank"].value == np.median(ranks)
    expected = [
        weighted_median([ranks[query[i]] for i in images], [weights[i] for i in images])
        for images in drawn(studies, few_replicates)
    ]
    assert named["median_rank"].resampled.tolist() == expected


@pytest.mark.parametrize("name", ["precision@5", "ndcg@10"])
def test_intervals_agree_with_scipy(monkeypatch, name):
    monkeypatch.setattr(estimates, "REPLICATES", 10_000)
    studies, matching, labels = collection(2, images=200, alone=True)
    found = ranked(matching, labels, values=1000)
    ours = Estimator(matching, studies, SEED).replicates(found)["image_to_report"][name].estimate()
    labelled = np.zeros(200)
    labelled[found["image_to_report"].labelled] = 1
    values = np.zeros(200)
    by_labels = metrics.per_labelled_query(found["image_to_report"].gains)
    values[found["image_to_report"].labelled] = by_labels[name]
    theirs = stats.bootstrap(
        (values, labelled),
        lambda v, known, axis: (v * known).sum(axis) / known.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert width > 0.01
    assert ours.value == pytest.approx(values.sum() / labelled.sum())
    assert ours.low == pytest.approx(theirs.low, abs=0.06 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.06 * width)


def test_a_resample_without_labels_makes_the_interval_unknown():
    studies, matching, _ = collection(3, alone=True)
    labels = [frozenset("a"), frozenset("b"), *[None] * (IMAGES - 2)]
    named = Estimator(matching, studies, SEED).replicates(ranked(matching, labels))
    estimate = named["image_to_report"]["ndcg@10"].estimate()
    assert 0 < estimate.value <= 1
    assert np.isnan([estimate.low, estimate.high]).all()
    assert np.isfinite(named["image_to_report"]["hit@10"].estimate().low)


def test_one_study_makes_intervals_unknown_but_not_values():
    studies, matching, labels = collection(3, unlabelled=0)
    of_one = Estimator(matching, ["s"] * IMAGES, SEED).replicates(ranked(matching, labels))
    named = Estimator(matching, studies, SEED).replicates(ranked(matching, labels))
    chance = chances(ranked(matching, labels))
    for direction in DIRECTIONS:
        own = estimates.estimates(of_one[direction], of_one[direction], chance[direction])
        expected = estimates.estimates(named[direction], named[direction], chance[direction])
        assert set(own) == set(metrics.RANGES)
        for name, estimate in own.items():
            assert estimate.value == pytest.approx(expected[name].value, nan_ok=True), name
            assert np.isnan([estimate.low, estimate.high]).all(), name


# --- chance and retention ------------------------------------------------------------------


def test_chance_equals_identical_scores():
    studies, matching, labels = collection(4)
    chance = chances(ranked(matching, labels))
    guessing = Estimator(matching, studies, SEED).replicates(ranked(matching, labels, values=1))
    for direction in DIRECTIONS:
        assert set(chance[direction]) == set(guessing[direction])
        for name, value in chance[direction].items():
            assert value == pytest.approx(guessing[direction][name].value), name


def test_retention_is_computed_per_resample():
    studies, matching, labels = collection(5)
    estimator = Estimator(matching, studies, SEED)
    of_clean, of_found = ranked(matching, labels, 1), ranked(matching, labels, 2)
    clean, found = (estimator.replicates(r)["image_to_report"] for r in (of_clean, of_found))
    # A low chance level, so that no resample of the clean metric is near it.
    chance = dict.fromkeys(chances(of_clean)["image_to_report"], 0.01)
    made_of = estimates.estimates(found, clean, chance)
    assert set(made_of) == set(metrics.RANGES)
    for name in ("ndcg@10", "hit@100"):
        kept = (found[name].resampled - 0.01) / (clean[name].resampled - 0.01)
        estimate = made_of[f"retention({name})"]
        assert estimate.value == pytest.approx(
            (found[name].value - 0.01) / (clean[name].value - 0.01)
        )
        # The 25th from either end, or its neighbour: 0.025 has no exact binary representation.
        ordered = np.sort(kept)
        assert min(abs(estimate.low - ordered[24:26])) < 1e-12
        assert min(abs(estimate.high - ordered[974:976])) < 1e-12


def test_without_label_rankings_their_metrics_are_unknown_and_the_others_are_not():
    studies, matching, labels = collection(6)
    bare = {
        direction: Ranked(own.counts, None, np.zeros(0, dtype=np.int64))
        for direction, own in ranked(matching, labels).items()
    }
    named = Estimator(matching, studies, SEED).replicates(bare)
    chance = chances(bare)
    for direction in DIRECTIONS:
        values = estimates.estimates(named[direction], named[direction], chance[direction])
        assert set(values) == set(metrics.RANGES)
        for name in (*metrics.MEANS, *metrics.LABEL_MEANS, "median_rank", "rsum"):
            unknown = name in metrics.LABEL_MEANS
            assert np.isnan([values[name].value, values[name].low]).all() == unknown, name
        assert all(np.isnan(values[f"retention({name})"].value) for name in metrics.LABEL_MEANS)
        assert np.isnan([chance[direction][name] for name in metrics.LABEL_MEANS]).all()
        assert np.isfinite(chance[direction]["hit@10"])


def test_the_median_of_no_observation_is_unknown():
    """As for the mean: an arbitrary value would narrow the interval."""
    from robustness.metrics.bootstrap import Bootstrap

    values, weights = np.array([1.0, 5.0, 5.0]), np.array([0.0, 1.0, 1.0])
    bootstrap = Bootstrap(["a", "b", "c"], seed=0, replicates=200)
    median, mean = bootstrap.median(values, weights), bootstrap.mean(values, weights)
    assert median.value == mean.value == 5
    assert 0 < np.isnan(mean.resampled).sum() < 200
    np.testing.assert_array_equal(median.resampled, mean.resampled)
    assert isinstance(median, Replicates)
