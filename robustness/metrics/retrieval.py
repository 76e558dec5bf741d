"""Retrieval metrics from rank counts (torch-free).

Ties are broken at random and every metric is the expectation, so a model with identical
scores for all items gets chance level. Per-query functions return float64 ``[Q]``, the input
of the bootstrap; run-level functions return one number.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from robustness.metrics.rank_counts import (
    RankCounts,
    TopGains,
    Values,
    first_position_probabilities,
)

CUTOFFS = (1, 5, 10, 100)
"""The k of hit@k and recall@k in every run."""

RSUM_CUTOFFS = (1, 5, 10)
"""The k of the hit@k that RSUM adds up over both directions."""

PRIMARY_METRIC = "hit@10"
"""The metric of tables, curves and the level of half loss."""

PRIMARY_CUTOFF = int(PRIMARY_METRIC.partition("@")[2])
"""The k of the primary metric."""

MEANS = (*(f"hit@{k}" for k in CUTOFFS), *(f"recall@{k}" for k in CUTOFFS), "mrr")
"""Metrics that are means over queries, each 0 to 1."""

LABEL_CUTOFFS = (1, 5, 10)
"""The k of precision@k and ndcg@k in every run on an evaluation set with labels."""

LABEL_MEANS = tuple(f"{name}@{k}" for name in ("precision", "ndcg") for k in LABEL_CUTOFFS)
"""Label-based metrics: means over the queries that have labels, each 0 to 1."""

AGREEMENT = "precision: equal label sets; ndcg: their Jaccard index; a text: its images' mean"
"""The definition of relevance by labels, as results.json prints it."""

RETAINED = (*MEANS, *LABEL_MEANS, "rsum")
"""Metrics with a reported retention."""

RANGES = (
    dict.fromkeys((*MEANS, *LABEL_MEANS), (0.0, 1.0))
    | {"median_rank": (1.0, float("inf")), "rsum": (0.0, 2.0 * len(RSUM_CUTOFFS))}
    | {f"retention({name})": (float("-inf"), float("inf")) for name in RETAINED}
)
"""Lowest and highest possible value of every metric, by name."""


# --- rank metrics, one value per query ---------------------------------------------------


def hits(counts: RankCounts, k: int) -> Values:
    """Return the probability that a positive is among the first k, for each query.

    Args:
        counts: Rank counts of Q queries.
        k: The cutoff, at least 1.

    Returns:
        float64 ``[Q]``.

    Raises:
        ValueError: If k is below 1.

    Example:
        >>> counts = RankCounts.of(
        ...     {"greater": [0, 1], "equal": [1, 0], "tied": [1, 1], "positives": [1, 1],
        ...      "pair_greater": [0, 1], "pair_equal": [1, 0]}, gallery_size=2)
        >>> hits(counts, k=1).tolist()  # the first query ties with one other item
        [0.5, 0.0]
    """
    _require_cutoff(k)
    level = counts.equal + counts.tied
    slots = np.clip(k - counts.greater, 0, level)
    miss = np.ones(len(counts))
    # P(miss): all tied positives fall behind the open slots, a product of `tied` factors.
    for i in range(int(counts.tied.max())):
        remaining = i < counts.tied
        factor = (level - slots - i) / np.where(remaining, level - i, 1)
        miss = np.where(remaining, miss * np.clip(factor, 0, None), miss)
    return 1 - miss


def recalls(counts: RankCounts, k: int) -> Values:
    """Return the expected fraction of positives among the first k, for each query.

    Args:
        counts: Rank counts of Q queries.
        k: The cutoff, at least 1.

    Returns:
        float64 ``[Q]``.

    Raises:
        ValueError: If k is below 1.
    """
    _require_cutoff(k)
    retrieved = np.clip((k - counts.pair_greater) / (counts.pair_equal + 1), 0, 1)
    query = np.repeat(np.arange(len(counts)), counts.positives)
    total = np.bincount(query, weights=retrieved, minlength=len(counts)).astype(np.float64)
    return np.asarray(total / counts.positives)


def reciprocal_ranks(counts: RankCounts) -> Values:
    """Return the expected 1 / rank of each query's first positive: float64 ``[Q]``."""
    level = counts.equal + counts.tied
    # With one tied positive the mean of 1 / rank is a difference of harmonic numbers.
    harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, counts.gallery_size + 1))])
    values: Values = (harmonic[counts.greater + level] - harmonic[counts.greater]) / level
    for q in np.flatnonzero((counts.tied > 1) & (counts.equal > 0)):
        probabilities = first_position_probabilities(int(counts.equal[q]), int(counts.tied[q]))
        rank = counts.greater[q] + np.arange(1, len(probabilities) + 1)
        values[q] = (probabilities / rank).sum()
    only_positives_tie = (counts.tied > 1) & (counts.equal == 0)
    values[only_positives_tie] = 1 / (counts.greater[only_positives_tie] + 1)
    return values


def ranks(counts: RankCounts) -> Values:
    """Return the expected rank of each query's first positive, from 1: float64 ``[Q]``."""
    return counts.greater + 1 + counts.equal / (counts.tied + 1)


def _require_cutoff(k: int) -> None:
    if k < 1:
        raise ValueError(f"cutoff k is {k}; it must be at least 1")


# --- rank metrics, one value per run -----------------------------------------------------


def hit_at(counts: RankCounts, k: int) -> float:
    """Compute hit@k: the fraction of queries with a positive among the first k.

    Args:
        counts: Rank counts of Q queries.
        k: The cutoff, at least 1.

    Returns:
        0 to 1, the expectation under random tie-breaking.

    Raises:
        ValueError: If k is below 1.

    Example:
        >>> from robustness.ranking import rank_counts
        >>> counts = rank_counts([[3, 2, 1], [3, 2, 1]], np.eye(3), positives=[0, 2])
        >>> hit_at(counts, k=1)
        0.5
    """
    return float(hits(counts, k).mean())


def recall_at(counts: RankCounts, k: int) -> float:
    """Compute recall@k: the mean fraction of a query's positives among the first k.

    Args:
        counts: Rank counts of Q queries.
        k: The cutoff, at least 1.

    Returns:
        0 to 1, the expectation under random tie-breaking.

    Raises:
        ValueError: If k is below 1.

    Example:
        >>> from robustness.ranking import rank_counts
        >>> counts = rank_counts([[4, 3, 2, 1]], np.eye(4), positives=[[0, 3]])
        >>> recall_at(counts, k=2)
        0.5
    """
    return float(recalls(counts, k).mean())


def mean_reciprocal_rank(counts: RankCounts) -> float:
    """Compute MRR: the mean of 1 / rank of the first positive.

    Args:
        counts: Rank counts of Q queries.

    Returns:
        Above 0, at most 1; the expectation under random tie-breaking.

    Example:
        >>> from robustness.ranking import rank_counts
        >>> counts = rank_counts([[3, 2, 1], [3, 2, 1]], np.eye(3), positives=[0, 1])
        >>> mean_reciprocal_rank(counts)
        0.75
    """
    return float(reciprocal_ranks(counts).mean())


def median_rank(counts: RankCounts) -> float:
    """Compute the median over queries of the first positive's expected rank, from 1.

    Args:
        counts: Rank counts of Q queries.

    Example:
        >>> from robustness.ranking import rank_counts
        >>> counts = rank_counts([[3, 2, 1]] * 3, np.eye(3), positives=[0, 1, 2])
        >>> median_rank(counts)
        2.0
    """
    return float(np.median(ranks(counts)))


def per_query(counts: RankCounts) -> dict[str, Values]:
    """Return every metric of :data:`MEANS` by name, each float64 ``[Q]``."""
    by_name = {f"hit@{k}": hits(counts, k) for k in CUTOFFS}
    by_name |= {f"recall@{k}": recalls(counts, k) for k in CUTOFFS}
    return by_name | {"mrr": reciprocal_ranks(counts)}


def chance_counts(counts: RankCounts) -> RankCounts:
    """Return the rank counts under identical scores; their metrics are chance level.

    Example:
        >>> from robustness.ranking import rank_counts
        >>> counts = rank_counts(np.eye(4), np.eye(4), positives=[0, 1, 2, 3])
        >>> hit_at(counts, k=1), hit_at(chance_counts(counts), k=1)
        (1.0, 0.25)
    """
    return replace(
        counts,
        greater=np.zeros_like(counts.greater),
        equal=counts.gallery_size - counts.positives,
        tied=counts.positives,
        pair_greater=np.zeros_like(counts.pair_greater),
        pair_equal=np.full_like(counts.pair_equal, counts.gallery_size - 1),
    )


# --- label-based metrics, one value per query --------------------------------------------


def precisions(gains: TopGains, k: int) -> Values:
    """Return precision@k: the expected number of relevant items among the first k, over k.

    The divisor is k even if the gallery is smaller, as in trec_eval's ``P``.

    Args:
        gains: Gains at the first K ranks of Q queries.
        k: The cutoff, 1 to K.

    Returns:
        float64 ``[Q]``.

    Raises:
        ValueError: If k is below 1 or above K.

    Example:
        >>> gains = TopGains(
        ...     binary=np.array([[1.0, 0.0]]), graded=np.array([[1.0, 0.5]]),
        ...     ideal=np.array([[1.0, 0.5]]), mean_binary=np.array([0.5]),
        ...     mean_graded=np.array([0.75]), gallery_size=2)
        >>> precisions(gains, k=2).tolist()
        [0.5]
    """
    _require_depth(gains, k)
    return np.asarray(gains.binary[:, :k].sum(axis=1) / k)


def ndcgs(gains: TopGains, k: int) -> Values:
    """Return nDCG@k: the expected discounted cumulative gain over the ideal one.

    The gain is linear and the discount is 1 / log2(rank + 1), as in Järvelin and Kekäläinen
    (2002), trec_eval's ``ndcg_cut`` and scikit-learn's ``ndcg_score``.

    Args:
        gains: Gains at the first K ranks of Q queries.
        k: The cutoff, 1 to K.

    Returns:
        float64 ``[Q]``, 0 to 1.

    Raises:
        ValueError: If k is below 1 or above K, or a query has no item with a gain above 0.

    Example:
        Gains 1, 0, 1/2 give (1 + 0.5 / log2(4)) / (1 + 0.5 / log2(3)) = 1.25 / 1.315.

        >>> gains = TopGains(
        ...     binary=np.array([[1.0, 0.0, 0.0]]), graded=np.array([[1.0, 0.0, 0.5]]),
        ...     ideal=np.array([[1.0, 0.5, 0.0]]), mean_binary=np.array([1 / 3]),
        ...     mean_graded=np.array([0.5]), gallery_size=3)
        >>> ndcgs(gains, k=3).round(3).tolist()
        [0.95]
    """
    _require_depth(gains, k)
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = (gains.ideal[:, :k] * discount).sum(axis=1)
    if not ideal.all():
        raise ValueError(f"query {int(np.argmin(ideal))} has no item with a gain above 0")
    # A perfect ranking adds the same numbers in another order, so rounding may exceed 1.
    return np.asarray(np.minimum((gains.graded[:, :k] * discount).sum(axis=1) / ideal, 1))


def _require_depth(gains: TopGains, k: int) -> None:
    _require_cutoff(k)
    depth = gains.binary.shape[1]
    if k > depth:
        raise ValueError(f"cutoff k is {k}; gains are available for the first {depth} ranks")


def per_labelled_query(gains: TopGains) -> dict[str, Values]:
    """Return every metric of :data:`LABEL_MEANS` by name, each float64 ``[Q]``."""
    functions = (("precision", precisions), ("ndcg", ndcgs))
    return {f"{name}@{k}": of(gains, k) for name, of in functions for k in LABEL_CUTOFFS}


def chance_gains(gains: TopGains) -> TopGains:
    """Return the gains under identical scores; their metrics are chance level.

    Example:
        >>> gains = TopGains(
        ...     binary=np.array([[1.0, 0.0]]), graded=np.array([[1.0, 0.5]]),
        ...     ideal=np.array([[1.0, 0.5]]), mean_binary=np.array([0.5]),
        ...     mean_graded=np.array([0.75]), gallery_size=2)
        >>> precisions(chance_gains(gains), k=1).tolist()
        [0.5]
    """
    in_gallery = np.arange(gains.binary.shape[1]) < gains.gallery_size
    return replace(
        gains,
        binary=gains.mean_binary[:, None] * in_gallery,
        graded=gains.mean_graded[:, None] * in_gallery,
    )


# --- relative to the clean images --------------------------------------------------------


ROUNDING = 1e-9
"""Largest difference between two sums of the same terms that counts as rounding."""


def retention(value: Values | float, clean: Values | float, chance: float) -> Values:
    """Return the retained fraction: (value - chance) / (clean - chance).

    Args:
        value: The metric on perturbed images, of any shape.
        clean: The metric on clean images, of a shape that broadcasts with ``value``.
        chance: The chance level of the metric.

    Returns:
        float64: 1 if nothing is lost, 0 at chance, NaN if the clean metric is at or below
        chance, because retention is undefined there.

    Example:
        >>> retention(0.5, clean=0.9, chance=0.1).round(12).item()
        0.5
    """
    value, clean = np.asarray(value, dtype=float), np.asarray(clean, dtype=float)
    # The order of addition changes the last bits of a mean; that is no distance from chance.
    room = np.where(clean - chance > ROUNDING, clean - chance, np.nan)
    return (value - chance) / room
