"""Inputs of a paired comparison: per-query results and the clusters of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustness import metrics
from robustness.metrics.rank_counts import RankCounts, Values, first_position_probabilities

Clusters = NDArray[np.int64]


def log_ranks(counts: RankCounts) -> Values:
    """Return the expected natural log of the first positive's rank: float64 ``[Q]``.

    Ties are broken at random: with g items above, e items level and one positive it is the
    mean of log over the ranks g + 1, ..., g + e + 1. The log of the expected rank would be
    larger, and a model with identical scores must equal one that guesses.

    Example:
        >>> counts = RankCounts.of(
        ...     {"greater": [0], "equal": [0], "tied": [1], "positives": [1],
        ...      "pair_greater": [0], "pair_equal": [0]}, gallery_size=5)
        >>> log_ranks(counts).tolist()
        [0.0]
    """
    level = counts.equal + 1
    # Cumulative logs: the mean over any interval of ranks is one difference.
    sums = np.concatenate([[0], np.cumsum(np.log(np.arange(1, counts.gallery_size + 1)))])
    untied = counts.equal == 0
    values: Values = np.where(
        untied,
        np.log(counts.greater + 1),
        (sums[counts.greater + level] - sums[counts.greater]) / level,
    )
    for q in np.flatnonzero((counts.tied > 1) & ~untied):
        probabilities = first_position_probabilities(int(counts.equal[q]), int(counts.tied[q]))
        rank = counts.greater[q] + np.arange(1, len(probabilities) + 1)
        values[q] = (probabilities * np.log(rank)).sum()
    return values


@dataclass(frozen=True, slots=True)
class Answers:
    """Per-query results of one model in one direction.

    Attributes:
        log_rank: float64 ``[Q]``, from :func:`log_ranks`.
        hit: float64 ``[Q]``, from :func:`robustness.metrics.hits` at the cutoff; 0 to 1.
        cutoff: The k of hit@k.
    """

    log_rank: Values
    hit: Values
    cutoff: int = 10

    @classmethod
    def of(cls, counts: RankCounts, metric: str = metrics.PRIMARY_METRIC) -> Answers:
        """Compute the log ranks and the hits of a ``hit@k`` metric from rank counts."""
        cutoff = int(metric.removeprefix("hit@"))
        return cls(log_ranks(counts), metrics.hits(counts, cutoff), cutoff)


def query_clusters(text_of_image: Clusters, patients: Sequence[str]) -> dict[str, Clusters]:
    """Return the cluster of each query by direction: patients, joined if they share a text.

    All queries of a patient are dependent. A text shared by several patients is one query,
    and its embedding affects the ranks of all their images, so those patients are one
    cluster (a connected component of the patient-text graph).

    Args:
        text_of_image: int64 ``[N]``, the text of each image.
        patients: The patient of each image, ``[N]``.

    Returns:
        ``image_to_report``: int64 ``[N]``; ``report_to_image``: int64 ``[M]``; numbered from 0.

    Example:
        >>> clusters = query_clusters(np.array([0, 0, 1]), patients=["a", "b", "c"])
        >>> clusters["image_to_report"].tolist(), clusters["report_to_image"].tolist()
        ([0, 0, 1], [0, 1])
    """
    _, patient = np.unique(np.asarray(patients), return_inverse=True)
    text = np.asarray(text_of_image)
    # Propagate the lowest patient number over texts and patients until it is stable.
    label = patient
    while True:
        of_text = _group_min(text, label)
        updated = _group_min(patient, of_text[text])[patient]
        if np.array_equal(updated, label):
            break
        label = updated
    _, cluster = np.unique(label, return_inverse=True)
    return {
        "image_to_report": cluster.astype(np.int64),
        "report_to_image": _group_min(text, cluster),
    }


def _group_min(group: Clusters, values: Clusters) -> Clusters:
    """Return the minimum value of each group."""
    minimum = np.full(int(group.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(minimum, group, values)
    return minimum
