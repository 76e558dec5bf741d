"""Paired comparison: answers, clusters, intervals."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustness.evalset import match
from robustness.ranking import RankCounts
from robustness.regression import (
    Answers,
    compare_answers,
    log_ranks,
    query_clusters,
    sign_flip_test,
)

WAYS = ("image_to_report", "report_to_image")


def counts(greater, equal, tied, size):
    greater, equal, tied = (np.array(each, dtype=np.int64) for each in (greater, equal, tied))
    pairs = np.zeros(int(tied.sum()), dtype=np.int64)
    return RankCounts(greater, equal, tied, tied, pairs, pairs, size)


def answers(ranks):
    ranks = np.asarray(ranks, dtype=float)
    return Answers(np.log(ranks), (ranks <= 10).astype(float))


def one_way(baseline, candidate, clusters=None):
    """Compare ranks in one direction; by default every query is its own cluster."""
    clusters = np.arange(len(baseline)) if clusters is None else np.asarray(clusters)
    return compare_answers(
        {"image_to_report": answers(baseline)},
        {"image_to_report": answers(candidate)},
        {"image_to_report": clusters},
    )


def two_ways(rng, n=60, texts=45):
    """Return random answers of two models in both directions; some texts have several images."""
    text = np.concatenate([np.arange(texts), rng.integers(0, texts, n - texts)])
    sizes = dict(zip(WAYS, (n, texts), strict=True))
    models = [{d: answers(rng.integers(1, 40, m)) for d, m in sizes.items()} for _ in range(2)]
    patients = [f"p{i}" for i in rng.integers(0, 50, n)]
    matching = match([f"text {t}" for t in text], patients, "identical_text")
    return *models, query_clusters(matching.text_of_image, patients)


# --- one value per query -----------------------------------------------------------------


@given(st.integers(0, 4), st.integers(0, 4), st.integers(1, 3))
def test_log_rank_is_the_mean_over_all_orders_of_the_ties(greater, equal, tied):
    level = equal + tied
    firsts = [greater + 1 + min(places) for places in itertools.combinations(range(level), tied)]
    found = log_ranks(counts([greater], [equal], [tied], greater + level + 2))
    assert found.tolist() == pytest.approx([np.mean(np.log(firsts))], abs=1e-12)


def test_log_rank_of_identical_scores_equals_guessing():
    found = log_ranks(counts([0], [999], [1], 1000))
    assert found.tolist() == pytest.approx([np.log(np.arange(1, 1001)).mean()])


def test_answers_of_counts():
    found = Answers.of(counts([0, 9, 10, 5], [0, 0, 0, 9], [1, 1, 1, 1], 50))
    assert found.hit.tolist() == pytest.approx([1, 1, 0, 0.5])
    assert found.log_rank[:3].tolist() == pytest.approx(np.log([1, 10, 11]).tolist())


def test_patients_who_share_a_text_are_joined():
    texts = ["clear", "clear", "mass", "line", "line", "tube"]
    patients = ["a", "b", "b", "c", "c", "d"]
    found = query_clusters(match(texts, list("abbcde"), "identical_text").text_of_image, patients)
    # a and b share "clear", and b also has "mass"; c and d share nothing.
    assert found["image_to_report"].tolist() == [0, 0, 0, 1, 1, 2]
    assert found["report_to_image"].tolist() == [0, 0, 1, 2]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=25))
def test_clusters_are_the_connected_components(images):
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    patients, texts = zip(*images, strict=True)
    matching = match([f"t{t}" for t in texts], [f"p{p}" for p in patients], "identical_text")
    found = query_clusters(matching.text_of_image, [f"p{p}" for p in patients])["image_to_report"]
    graph = coo_array((np.ones(len(images)), (patients, [10 + t for t in texts])), (20, 20))
    _, theirs = connected_components(graph, directed=False)
    theirs = theirs[list(patients)]
    assert (found[:, None] == found).tolist() == (theirs[:, None] == theirs).tolist()


# --- the comparison --------------------------------------------------------------------


def test_statistic_is_the_mean_of_the_directions_means():
    baseline, candidate, clusters = two_ways(np.random.default_rng(0))
    found = compare_answers(baseline, candidate, clusters)
    rises = {d: candidate[d].log_rank - baseline[d].log_rank for d in WAYS}
    assert found.log_rank_rise == pytest.approx(np.mean([rises[d].mean() for d in WAYS]))
    drops = {d: baseline[d].hit.mean() - candidate[d].hit.mean() for d in WAYS}
    assert found.drops == pytest.approx(drops)
    assert found.drop == pytest.approx(np.mean(list(drops.values())))
    assert found.n == {"image_to_report": 60, "report_to_image": 45}
    assert found.clusters == len(np.unique(clusters["image_to_report"]))
    terms = np.concatenate([rises[d] / len(rises[d]) for d in WAYS])
    together = np.concatenate([clusters[d] for d in WAYS])
    assert found.p == sign_flip_test(terms, together)


def test_the_rise_that_costs_half_of_the_hits():
    baseline, candidate, clusters = two_ways(np.random.default_rng(10))
    found = compare_answers(baseline, candidate, clusters)
    assert found.baseline_hit == pytest.approx(np.mean([baseline[d].hit.mean() for d in WAYS]))
    for d in WAYS:
        one = compare_answers({d: baseline[d]}, {d: candidate[d]}, {d: clusters[d]})
        after = baseline[d].log_rank + one.half_loss_rise
        kept = [(after + slack <= math.log(10.5)).sum() for slack in (1e-9, -1e-9)]
        assert kept[0] <= baseline[d].hit.sum() / 2 <= kept[1]
    assert one_way([11, 12], [13, 14]).half_loss_rise == 0


def test_p_is_the_share_of_swaps_of_whole_clusters():
    """All 4096 swaps of candidate and baseline in twelve clusters."""
    rng = np.random.default_rng(1)
    sizes = dict(zip(WAYS, (20, 15), strict=True))
    clusters = {
        d: np.concatenate([np.arange(12), rng.integers(0, 12, n - 12)]) for d, n in sizes.items()
    }
    baseline, candidate = (
        {d: answers(rng.integers(low, 40, n)) for d, n in sizes.items()} for low in (1, 9)
    )
    shifts = []
    for swap in itertools.product((False, True), repeat=12):
        rise = {
            d: np.where(np.array(swap)[clusters[d]], -1, 1)
            * (candidate[d].log_rank - baseline[d].log_rank)
            for d in WAYS
        }
        shifts.append(np.mean([rise[d].mean() for d in WAYS]))
    found = compare_answers(baseline, candidate, clusters)
    assert found.p == pytest.approx(
        np.mean(np.array(shifts) >= found.log_rank_rise - 1e-12), rel=1e-9
    )
    assert found.flip_standard_error == pytest.approx(np.std(shifts))


def test_identical_models_show_no_change():
    baseline, _, clusters = two_ways(np.random.default_rng(2))
    found = compare_answers(baseline, baseline, clusters)
    assert (found.p, found.drop, found.log_rank_rise, found.standard_error) == (1, 0, 0, 0)


def test_standard_error_of_single_queries_is_the_textbook_one():
    rng = np.random.default_rng(3)
    baseline, candidate = rng.integers(1, 21, (2, 200))
    found = one_way(baseline, candidate)
    losses = (baseline <= 10).astype(float) - (candidate <= 10)
    assert found.standard_error == pytest.approx(losses.std(ddof=1) / math.sqrt(200))
    assert found.sum_squared_weights == pytest.approx(1 / 200)


def test_standard_error_is_the_jackknife_over_clusters():
    baseline, candidate, clusters = two_ways(np.random.default_rng(4))
    found = compare_answers(baseline, candidate, clusters)
    names = np.unique(clusters["image_to_report"])
    left_out = [
        np.mean([(baseline[d].hit - candidate[d].hit)[clusters[d] != name].mean() for d in WAYS])
        for name in names
    ]
    n = len(names)
    jackknife = math.sqrt((n - 1) / n * ((left_out - np.mean(left_out)) ** 2).sum())
    assert found.standard_error == pytest.approx(jackknife)


def test_ten_identical_queries_of_a_patient_are_no_more_than_one():
    rng = np.random.default_rng(5)
    baseline, candidate = rng.integers(1, 21, (2, 100))
    once = one_way(baseline, candidate)
    many = one_way(np.repeat(baseline, 10), np.repeat(candidate, 10), np.repeat(np.arange(100), 10))
    assert many.standard_error == pytest.approx(once.standard_error)
    assert many.limits() == pytest.approx(once.limits())
    assert many.p == pytest.approx(once.p, rel=1e-9)


def test_one_cluster_has_no_standard_error():
    found = one_way([1, 1, 1], [50, 50, 50], [7, 7, 7])
    assert found.p == 0.5
    assert found.standard_error == math.inf
    assert found.limits() == (-1, 1)


def test_limits_solve_the_score_equation():
    rng = np.random.default_rng(6)
    found = one_way(*rng.integers(1, 21, (2, 150)))
    low, high = found.limits(0.9)
    z = 1.6448536269514722
    for limit in (low, high):
        away = abs(limit - found.drop)
        assert away**2 == pytest.approx(
            z**2 * (found.standard_error**2 + found.sum_squared_weights * away)
        )


def test_the_interval_without_any_change_depends_on_n():
    """Tango's (1998) score limit without discordant pairs: z^2 / (n + z^2)."""
    found = one_way(np.ones(200), np.ones(200))
    z = 1.959963984540054
    assert found.limits()[1] == pytest.approx(z**2 / (200 + z**2), rel=0.02)
    assert found.limits()[0] == -found.limits()[1]


@pytest.mark.parametrize(
    ("lost", "gained", "n", "confidence"),
    [
        (0.01, 0.0, 1000, 0.997),  # the rare losses of a good model, at the level of 32 cases
        (0.01, 0.0, 300, 0.95),
        (0.03, 0.02, 300, 0.95),
        (0.10, 0.09, 1000, 0.95),
        (0.20, 0.20, 100, 0.95),
    ],
)
def test_limits_cover_the_true_drop(lost, gained, n, confidence):
    """Over 20,000 samples of queries that lost or gained a hit."""
    rng = np.random.default_rng(7)
    samples = rng.multinomial(n, [lost, gained, 1 - lost - gained], 20_000)
    template = one_way(np.ones(n), np.ones(n))
    inside = 0
    for (k, g, _), times in zip(*np.unique(samples, axis=0, return_counts=True), strict=True):
        variance = ((k + g) / n - ((k - g) / n) ** 2) / (n - 1)
        found = replace(template, drop=(k - g) / n, standard_error=math.sqrt(variance))
        low, high = found.limits(confidence)
        inside += times * (low <= lost - gained <= high)
    assert inside / 20_000 >= confidence - 0.003
    # The limits are conservative, above all for rare losses, elsewhere only slightly.
    assert inside / 20_000 <= (0.99 if gained else 1)


# --- invalid input ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "direction", "field", "value", "message"),
    [
        ("baseline", 0, "log_rank", np.nan, "baseline image_to_report log rank of query 3 is nan"),
        (
            "candidate",
            1,
            "log_rank",
            np.inf,
            "candidate report_to_image log rank of query 3 is inf",
        ),
        ("candidate", 1, "log_rank", -0.1, "not from 0 to inf"),
        ("baseline", 1, "hit", np.nan, "baseline report_to_image hit@10 of query 3 is nan"),
        ("candidate", 0, "hit", 1.5, "candidate image_to_report hit@10 of query 3 is 1.5"),
    ],
)
def test_an_invalid_value_is_reported(model, direction, field, value, message):
    baseline, candidate, clusters = two_ways(np.random.default_rng(8))
    answer = {"baseline": baseline, "candidate": candidate}[model][WAYS[direction]]
    getattr(answer, field)[3] = value
    with pytest.raises(ValueError, match=re.escape(message)):
        compare_answers(baseline, candidate, clusters)


def test_mismatched_queries_and_directions_are_reported():
    baseline, candidate, clusters = two_ways(np.random.default_rng(9))
    short = candidate | {"image_to_report": answers(np.ones(59))}
    with pytest.raises(
        ValueError, match=r"candidate image_to_report log rank has shape \[59\] for 60"
    ):
        compare_answers(baseline, short, clusters)
    alone = {"image_to_report": candidate["image_to_report"]}
    with pytest.raises(ValueError, match=r"candidate \['image_to_report'\]"):
        compare_answers(baseline, alone, clusters)
    with pytest.raises(ValueError, match="at least one"):
        compare_answers({}, {}, {})
    none = answers(np.ones(0))
    with pytest.raises(ValueError, match="at least one query"):
        compare_answers({"x": none}, {"x": none}, {"x": np.zeros(0, dtype=int)})
