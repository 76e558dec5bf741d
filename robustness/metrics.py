"""Retrieval metrics from ranks, and what is retained of them.

Ties are broken at random and the metric is the expectation, so a model that gives every
item one score gets what guessing gets. All the metrics share one description of where a
query's first right answer can stand, those of clinical labels one of what stands first.

Functions of one query each return float64 ``[Q]``, which is what intervals are made
from; functions of a whole run return one number.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robustness.counts import RankCounts, first_place

if TYPE_CHECKING:
    from robustness.topk import PlaceGains

Values = NDArray[np.float64]

CUTOFFS = (1, 5, 10, 100)
"""The k of hit@k and recall@k that every run reports."""

RSUM_CUTOFFS = (1, 5, 10)
"""The k whose hit@k RSUM adds up, in both directions."""

HEADLINE = "hit@10"
"""The metric that tables, curves and the level of half loss speak of."""

HEADLINE_CUTOFF = int(HEADLINE.partition("@")[2])
"""Its k."""

MEANS = (*(f"hit@{k}" for k in CUTOFFS), *(f"recall@{k}" for k in CUTOFFS), "mrr")
"""The metrics that are means over queries, each 0 to 1."""

LABEL_CUTOFFS = (1, 5, 10)
"""The k of precision@k and ndcg@k that every run on a set with labels reports."""

LABEL_MEANS = tuple(f"{name}@{k}" for name in ("precision", "ndcg") for k in LABEL_CUTOFFS)
"""The metrics by label agreement: means over the queries that have labels, each 0 to 1."""

AGREEMENT = "precision: equal label sets; ndcg: their Jaccard index; a text: its images' mean"
"""When labels agree, in the words of results; :mod:`robustness.relevance` has the rule."""

RETAINED = (*MEANS, *LABEL_MEANS, "rsum")
"""The metrics whose retention is reported."""

RANGES = (
    dict.fromkeys((*MEANS, *LABEL_MEANS), (0.0, 1.0))
    | {"median_rank": (1.0, float("inf")), "rsum": (0.0, 2.0 * len(RSUM_CUTOFFS))}
    | {f"retention({name})": (float("-inf"), float("inf")) for name in RETAINED}
)
"""Every metric of a case by name, with the lowest and the highest value it can take."""


# --- one value a query -----------------------------------------------------------------


def hits(counts: RankCounts, k: int) -> Values:
    """The chance, under random tie-breaking, that a positive is among the first k.

    Args:
        counts: The counts of Q queries.
        k: The cutoff, at least 1.

    Returns:
        float64 ``[Q]``.

    Raises:
        ValueError: k is below 1.
    """
    _require_cutoff(k)
    level = counts.equal + counts.tied
    slots = np.clip(k - counts.greater, 0, level)
    miss = np.ones(len(counts))
    # All the tied positives fall behind the open slots: a product of as many factors.
    for i in range(int(counts.tied.max())):
        still = i < counts.tied
        factor = (level - slots - i) / np.where(still, level - i, 1)
        miss = np.where(still, miss * np.clip(factor, 0, None), miss)
    return 1 - miss


def recalls(counts: RankCounts, k: int) -> Values:
    """The expected share of a query's positives that are among the first k.

    Args:
        counts: The counts of Q queries.
        k: The cutoff, at least 1.

    Returns:
        float64 ``[Q]``.

    Raises:
        ValueError: k is below 1.
    """
    _require_cutoff(k)
    found = np.clip((k - counts.pair_greater) / (counts.pair_equal + 1), 0, 1)
    query = np.repeat(np.arange(len(counts)), counts.positives)
    total = np.bincount(query, weights=found, minlength=len(counts)).astype(np.float64)
    return np.asarray(total / counts.positives)


def reciprocal_ranks(counts: RankCounts) -> Values:
    """The expected 1 / rank of each query's first positive: float64 ``[Q]``."""
    level = counts.equal + counts.tied
    # For one tied positive the mean of 1 / rank over its places is a difference of harmonics.
    harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, counts.gallery_size + 1))])
    values: Values = (harmonic[counts.greater + level] - harmonic[counts.greater]) / level
    for q in np.flatnonzero((counts.tied > 1) & (counts.equal > 0)):
        places = first_place(int(counts.equal[q]), int(counts.tied[q]))
        at = counts.greater[q] + np.arange(1, len(places) + 1)
        values[q] = (places / at).sum()
    several_alone = (counts.tied > 1) & (counts.equal == 0)
    values[several_alone] = 1 / (counts.greater[several_alone] + 1)
    return values


def ranks(counts: RankCounts) -> Values:
    """The expected rank of each query's first positive, from 1: float64 ``[Q]``."""
    return counts.greater + 1 + counts.equal / (counts.tied + 1)


def _require_cutoff(k: int) -> None:
    if k < 1:
        raise ValueError(f"cutoff k is {k}; it is at least 1")


# --- one value a run -------------------------------------------------------------------


def hit_at(counts: RankCounts, k: int) -> float:
    """hit@k: the share of queries with a positive among the first k, 0 to 1."""
    return float(hits(counts, k).mean())


def recall_at(counts: RankCounts, k: int) -> float:
    """recall@k: the mean share of a query's positives among the first k, 0 to 1."""
    return float(recalls(counts, k).mean())


def mean_reciprocal_rank(counts: RankCounts) -> float:
    """MRR: the mean of 1 / rank of the first positive, 0 to 1."""
    return float(reciprocal_ranks(counts).mean())


def median_rank(counts: RankCounts) -> float:
    """The median over queries of the first positive's expected rank, from 1."""
    return float(np.median(ranks(counts)))


def per_query(counts: RankCounts) -> dict[str, Values]:
    """Every metric of :data:`MEANS`, by name: float64 ``[Q]`` each."""
    named = {f"hit@{k}": hits(counts, k) for k in CUTOFFS}
    named |= {f"recall@{k}": recalls(counts, k) for k in CUTOFFS}
    return named | {"mrr": reciprocal_ranks(counts)}


def uninformed(counts: RankCounts) -> RankCounts:
    """The counts of a model that gives every item one score: any metric of them is chance."""
    return replace(
        counts,
        greater=np.zeros_like(counts.greater),
        equal=counts.gallery_size - counts.positives,
        tied=counts.positives,
        pair_greater=np.zeros_like(counts.pair_greater),
        pair_equal=np.full_like(counts.pair_equal, counts.gallery_size - 1),
    )


# --- by label agreement, one value a query ----------------------------------------------


def precisions(gains: PlaceGains, k: int) -> Values:
    """The expected number of right items among the first k, divided by k: float64 ``[Q]``.

    The divisor is k even where the gallery is smaller, as in trec_eval's ``P``.

    Raises:
        ValueError: k is below 1, or above the number of places whose gains are known.
    """
    return np.asarray(gains.same[:, : _place(gains, k)].sum(axis=1) / k)


def ndcgs(gains: PlaceGains, k: int) -> Values:
    """The expected discounted cumulative gain of the first k over the best: float64 ``[Q]``.

    The gain is linear and the discount 1 / log2(place + 1), as in Järvelin and Kekäläinen
    (2002), trec_eval's ``ndcg_cut`` and scikit-learn's ``ndcg_score``. With gains 1, 0, 1/2
    at the first three places, and none above 0 behind them, nDCG@3 is
    (1 + 0.5 / log2(4)) / (1 + 0.5 / log2(3)) = 1.25 / 1.315 = 0.950.

    Raises:
        ValueError: k is as in :func:`precisions`, or a query has no item with a gain, so
            that no ranking could be better than another.
    """
    discount = 1 / np.log2(np.arange(2, _place(gains, k) + 2))
    ideal = (gains.best[:, :k] * discount).sum(axis=1)
    if not ideal.all():
        raise ValueError(f"query {int(np.argmin(ideal))} has no item with a gain above 0")
    # A perfect ranking adds the same numbers another way, and may be a rounding above 1.
    return np.asarray(np.minimum((gains.overlap[:, :k] * discount).sum(axis=1) / ideal, 1))


def _place(gains: PlaceGains, k: int) -> int:
    _require_cutoff(k)
    if k > gains.same.shape[1]:
        raise ValueError(f"cutoff k is {k}; gains are known at {gains.same.shape[1]} places")
    return k


def per_labelled_query(gains: PlaceGains) -> dict[str, Values]:
    """Every metric of :data:`LABEL_MEANS`, by name: float64 ``[Q]`` each."""
    by_name = (("precision", precisions), ("ndcg", ndcgs))
    return {f"{name}@{k}": of(gains, k) for name, of in by_name for k in LABEL_CUTOFFS}


def uninformed_gains(gains: PlaceGains) -> PlaceGains:
    """The gains of a model that gives every item one score: any metric of them is chance."""
    held = np.arange(gains.same.shape[1]) < gains.gallery_size
    return replace(
        gains,
        same=gains.mean_same[:, None] * held,
        overlap=gains.mean_overlap[:, None] * held,
    )


# --- beside the clean model ------------------------------------------------------------


ROUNDING = 1e-9
"""What two sums of the same shares may differ by."""


def retention(value: Values | float, clean: Values | float, chance: float) -> Values:
    """What is left of a metric's distance from chance: (value - chance) / (clean - chance).

    Args:
        value: The metric on occluded images, of any shape.
        clean: The metric at level 0, of a shape that broadcasts with it.
        chance: The metric of guessing.

    Returns:
        float64; 1 where nothing is lost, 0 at chance, NaN where the clean model is at
        chance or below it, since nothing can be said of what such a model retains.
    """
    value, clean = np.asarray(value, dtype=float), np.asarray(clean, dtype=float)
    # Means differ in their last bits by the order of addition: that is no knowledge.
    room = np.where(clean - chance > ROUNDING, clean - chance, np.nan)
    return (value - chance) / room
