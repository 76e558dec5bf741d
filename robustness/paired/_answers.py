"""What a paired comparison is made from: a model's answers, and which of them belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustness import metrics
from robustness.counts import RankCounts, first_position_probabilities

Values = NDArray[np.float64]
Clusters = NDArray[np.int64]


def log_ranks(counts: RankCounts) -> Values:
    """The expected natural log of each query's first positive's rank: float64 ``[Q]``.

    Ties are broken at random, so with g items above, e level and one positive it is the
    mean of log over the ranks g + 1, ..., g + e + 1. The log of the expected rank would
    overstate it: a model that ties everything must look like one that guesses.
    """
    level = counts.equal + 1
    # Sums of logs, so that the mean over any interval of ranks is one difference.
    sums = np.concatenate([[0], np.cumsum(np.log(np.arange(1, counts.gallery_size + 1)))])
    alone = counts.equal == 0
    values: Values = np.where(
        alone,
        np.log(counts.greater + 1),
        (sums[counts.greater + level] - sums[counts.greater]) / level,
    )
    for q in np.flatnonzero((counts.tied > 1) & ~alone):
        places = first_position_probabilities(int(counts.equal[q]), int(counts.tied[q]))
        at = counts.greater[q] + np.arange(1, len(places) + 1)
        values[q] = (places * np.log(at)).sum()
    return values


@dataclass(frozen=True, slots=True)
class Answers:
    """How one model answered one direction's queries.

    Attributes:
        log_rank: float64 ``[Q]``, of :func:`log_ranks`.
        hit: float64 ``[Q]``, of :func:`robustness.metrics.hits` at the cutoff: 0 to 1.
        cutoff: The k of hit@k.
    """

    log_rank: Values
    hit: Values
    cutoff: int = 10

    @classmethod
    def of(cls, counts: RankCounts, metric: str = metrics.PRIMARY_METRIC) -> Answers:
        """The answers that rank counts tell of, and whether they are hits of ``hit@k``."""
        cutoff = int(metric.removeprefix("hit@"))
        return cls(log_ranks(counts), metrics.hits(counts, cutoff), cutoff)


def query_clusters(text_of_image: Clusters, patients: Sequence[str]) -> dict[str, Clusters]:
    """The cluster of each query, by direction: patients, joined where they share a text.

    A patient's images are alike and its texts ask for them, so all its queries stand or
    fall together. A text that came with images of several patients is one query, and what
    moves its embedding moves the ranks of all their images: those patients are one cluster.

    Args:
        text_of_image: int64 ``[N]``, the text each image came with.
        patients: The patient of each image, ``[N]``.

    Returns:
        ``image_to_report``: int64 ``[N]``; ``report_to_image``: int64 ``[M]``; numbered from 0.
    """
    _, patient = np.unique(np.asarray(patients), return_inverse=True)
    text = np.asarray(text_of_image)
    # The lowest patient number spreads over texts and patients until nothing moves.
    label = patient
    while True:
        of_text = _lowest(text, label)
        spread = _lowest(patient, of_text[text])[patient]
        if np.array_equal(spread, label):
            break
        label = spread
    _, cluster = np.unique(label, return_inverse=True)
    return {
        "image_to_report": cluster.astype(np.int64),
        "report_to_image": _lowest(text, cluster),
    }


def _lowest(group: Clusters, values: Clusters) -> Clusters:
    lowest = np.full(int(group.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(lowest, group, values)
    return lowest
