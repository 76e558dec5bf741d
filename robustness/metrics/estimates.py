"""Metrics with bootstrap intervals, computed from rank counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustness import metrics
from robustness.evalset import Matching
from robustness.metrics.bootstrap import REPLICATES, Bootstrap, Estimate, Replicates
from robustness.metrics.rank_counts import RankCounts, TopGains

ReplicatesByName = dict[str, Replicates]


@dataclass(frozen=True, slots=True)
class Ranked:
    """Rankings of one direction's queries.

    Attributes:
        counts: The rank counts of all queries.
        gains: The gains by label agreement of the labelled queries; None if the evaluation
            set has fewer than two different label sets.
        labelled: int64, the ascending indexes of the labelled queries.
    """

    counts: RankCounts
    gains: TopGains | None
    labelled: NDArray[np.int64]


class Estimator:
    """Bootstrap replicates of every metric of a collection.

    Args:
        matching: The text of each image.
        studies: The study of each image; studies are the clusters of the bootstrap.
        seed: Seed of the bootstrap.
    """

    def __init__(self, matching: Matching, studies: Sequence[str], seed: int) -> None:
        self._text = matching.text_of_image
        self._bootstrap = Bootstrap(studies, seed=seed, replicates=REPLICATES)

    def replicates(self, ranked: dict[str, Ranked]) -> dict[str, ReplicatesByName]:
        """Return replicates of every metric except retention, by direction and name."""
        by_direction = {
            direction: self._one_direction(direction, own) for direction, own in ranked.items()
        }
        rsum = _sum(
            [own[f"hit@{k}"] for own in by_direction.values() for k in metrics.RSUM_CUTOFFS],
        )
        return {direction: own | {"rsum": rsum} for direction, own in by_direction.items()}

    def _one_direction(self, direction: str, ranked: Ranked) -> ReplicatesByName:
        """Return replicates of one direction, without RSUM.

        Each image is an observation of its study. A text that belongs to m images is split
        into m observations of weight 1 / m, so that the weighted mean is the mean over texts.
        """
        query, weights = np.arange(len(self._text)), np.ones(len(self._text))
        if direction == "report_to_image":
            query, weights = self._text, 1 / np.bincount(self._text)[self._text]
        by_name = {
            name: self._bootstrap.mean(values[query], weights)
            for name, values in metrics.per_query(ranked.counts).items()
        }
        ranks = metrics.ranks(ranked.counts)
        by_name["median_rank"] = self._bootstrap.median(ranks[query], weights)
        if ranked.gains is None:
            unknown = Replicates(np.nan, np.full(REPLICATES, np.nan))
            return by_name | dict.fromkeys(metrics.LABEL_MEANS, unknown)
        labelled = np.zeros(len(ranked.counts))
        labelled[ranked.labelled] = 1
        for name, values in metrics.per_labelled_query(ranked.gains).items():
            of_all_queries = np.zeros(len(labelled))
            of_all_queries[ranked.labelled] = values
            by_name[name] = self._bootstrap.mean(of_all_queries[query], weights * labelled[query])
        return by_name


def chances(ranked: dict[str, Ranked]) -> dict[str, dict[str, float]]:
    """Return the chance level of every metric except retention, by direction and name."""
    by_direction = {direction: _chance(own) for direction, own in ranked.items()}
    rsum = math.fsum(own[f"hit@{k}"] for own in by_direction.values() for k in metrics.RSUM_CUTOFFS)
    return {direction: own | {"rsum": rsum} for direction, own in by_direction.items()}


def _chance(ranked: Ranked) -> dict[str, float]:
    counts = metrics.chance_counts(ranked.counts)
    values = {name: float(per.mean()) for name, per in metrics.per_query(counts).items()}
    values["median_rank"] = metrics.median_rank(counts)
    if ranked.gains is None:
        return values | dict.fromkeys(metrics.LABEL_MEANS, np.nan)
    by_labels = metrics.per_labelled_query(metrics.chance_gains(ranked.gains))
    return values | {name: float(per.mean()) for name, per in by_labels.items()}


def estimates(
    perturbed: ReplicatesByName, clean: ReplicatesByName, chance: dict[str, float]
) -> dict[str, Estimate]:
    """Return every metric of :data:`robustness.metrics.RANGES` with its interval.

    Args:
        perturbed: Replicates of the metrics on perturbed images.
        clean: Replicates of the metrics on clean images.
        chance: The chance level of the metrics.
    """
    values = {name: replicates.estimate() for name, replicates in perturbed.items()}
    for name in metrics.RETAINED:
        retained = Replicates(
            float(metrics.retention(perturbed[name].value, clean[name].value, chance[name])),
            metrics.retention(perturbed[name].resampled, clean[name].resampled, chance[name]),
        )
        values[f"retention({name})"] = retained.estimate()
    return values


def _sum(parts: Sequence[Replicates]) -> Replicates:
    return Replicates(
        math.fsum(part.value for part in parts), np.sum([part.resampled for part in parts], axis=0)
    )
