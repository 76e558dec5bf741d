"""From rankings to metrics with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustness import metrics
from robustness.counts import RankCounts
from robustness.evalset import Matching
from robustness.statistics import REPLICATES, Bootstrap, Estimate, Replicates
from robustness.topk import PlaceGains

Named = dict[str, Replicates]


@dataclass(frozen=True, slots=True)
class Ranked:
    """What is known of the rankings of one direction's queries.

    Attributes:
        counts: Where the right answers stand.
        gains: How far what is retrieved agrees by its labels, for the queries that have
            labels; None where labels tell no two images of the set apart.
        labelled: int64, the indexes of those queries, rising.
    """

    counts: RankCounts
    gains: PlaceGains | None
    labelled: NDArray[np.int64]


class Estimator:
    """Metrics of rankings, their replicates and their chance.

    Args:
        matching: Which text came with which image.
        studies: The study of each image.
        seed: Of the bootstrap.
    """

    def __init__(self, matching: Matching, studies: Sequence[str], seed: int) -> None:
        self._text = matching.text_of_image
        self._bootstrap = Bootstrap(studies, seed=seed, replicates=REPLICATES)

    def replicates(self, ranked: dict[str, Ranked]) -> dict[str, Named]:
        """Replicates of every metric but retention, by direction and name."""
        named = {direction: self._of(direction, found) for direction, found in ranked.items()}
        rsum = _sum(
            [own[f"hit@{k}"] for own in named.values() for k in metrics.RSUM_CUTOFFS],
        )
        return {direction: own | {"rsum": rsum} for direction, own in named.items()}

    def _of(self, direction: str, ranked: Ranked) -> Named:
        """Replicates of one direction.

        An image is an observation of its study. A text that m images came with is shared
        between them, an m-th each, so that the mean over studies is the mean over texts.
        """
        # Which query each image stands for, and with what share of it.
        query, weights = np.arange(len(self._text)), np.ones(len(self._text))
        if direction == "report_to_image":
            query, weights = self._text, 1 / np.bincount(self._text)[self._text]
        named = {
            name: self._bootstrap.mean(values[query], weights)
            for name, values in metrics.per_query(ranked.counts).items()
        }
        ranks = metrics.ranks(ranked.counts)
        named["median_rank"] = self._bootstrap.median(ranks[query], weights)
        if ranked.gains is None:
            unknown = Replicates(np.nan, np.full(REPLICATES, np.nan))
            return named | dict.fromkeys(metrics.LABEL_MEANS, unknown)
        labelled = np.zeros(len(ranked.counts))
        labelled[ranked.labelled] = 1
        for name, values in metrics.per_labelled_query(ranked.gains).items():
            spread = np.zeros(len(labelled))
            spread[ranked.labelled] = values
            named[name] = self._bootstrap.mean(spread[query], weights * labelled[query])
        return named


def chances(ranked: dict[str, Ranked]) -> dict[str, dict[str, float]]:
    """Every metric but retention, for a model that knows nothing, by direction and name."""
    named = {direction: _chance(found) for direction, found in ranked.items()}
    rsum = math.fsum(own[f"hit@{k}"] for own in named.values() for k in metrics.RSUM_CUTOFFS)
    return {direction: own | {"rsum": rsum} for direction, own in named.items()}


def _chance(ranked: Ranked) -> dict[str, float]:
    counts = metrics.uninformed(ranked.counts)
    values = {name: float(per.mean()) for name, per in metrics.per_query(counts).items()}
    values["median_rank"] = metrics.median_rank(counts)
    if ranked.gains is None:
        return values | dict.fromkeys(metrics.LABEL_MEANS, np.nan)
    by_labels = metrics.per_labelled_query(metrics.uninformed_gains(ranked.gains))
    return values | {name: float(per.mean()) for name, per in by_labels.items()}


def estimates(found: Named, clean: Named, chance: dict[str, float]) -> dict[str, Estimate]:
    """Every metric of :data:`robustness.metrics.RANGES` with its interval.

    Args:
        found: Replicates of the metrics.
        clean: The same at level 0.
        chance: The same of a model that knows nothing.
    """
    values = {name: replicates.estimate() for name, replicates in found.items()}
    for name in metrics.RETAINED:
        kept = Replicates(
            float(metrics.retention(found[name].value, clean[name].value, chance[name])),
            metrics.retention(found[name].resampled, clean[name].resampled, chance[name]),
        )
        values[f"retention({name})"] = kept.estimate()
    return values


def _sum(parts: Sequence[Replicates]) -> Replicates:
    return Replicates(
        math.fsum(part.value for part in parts), np.sum([part.resampled for part in parts], axis=0)
    )
