"""Percentile bootstrap over clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robustness.metrics.rank_counts import Values

REPLICATES = 1000
CONFIDENCE = 0.95

MIN_CLUSTERS = 2
"""Minimum number of clusters for an interval: all resamples of one cluster are identical."""

_MAX_BLOCK_ELEMENTS = 2**17
"""Resampled weights computed at once (1 MiB of float64), so that the buffer stays in cache."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval; NaN if unknown, inf if no level reaches it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Replicates:
    """A statistic of the data and of every bootstrap resample.

    Statistics of one :class:`Bootstrap` share their resamples, so a function of several of
    them (difference, ratio, curve) can be computed replicate by replicate.

    Attributes:
        value: The statistic of the data.
        resampled: float64 ``[R]``, the statistic of each resample.
    """

    value: float
    resampled: Values

    def estimate(self, confidence: float = CONFIDENCE) -> Estimate:
        """Return the value with its percentile interval.

        The interval is unknown (NaN) if any replicate is: dropping that replicate would
        narrow the interval where the data say least. See Efron and Tibshirani (1993),
        chapter 13.

        Args:
            confidence: The level of the interval, 0 to 1.

        Example:
            >>> Replicates(20.0, np.arange(41.0)).estimate(confidence=0.9)
            Estimate(value=20.0, low=2.0, high=38.0)
        """
        ordered = np.sort(self.resampled)
        if np.isnan(ordered).any() or np.isnan(self.value):
            return Estimate(self.value, np.nan, np.nan)
        # Order statistics without interpolation: an inf must not turn its neighbour into NaN.
        tail = (1 - confidence) / 2
        low, high = np.quantile(ordered, [tail, 1 - tail], method="inverted_cdf")
        return Estimate(self.value, float(low), float(high))


class Bootstrap:
    """Resamples of whole clusters, drawn once and shared by every statistic.

    Observations of one cluster are dependent, so clusters are drawn with replacement together
    with all their observations. A resample is stored as a count per cluster. If fewer than
    :data:`MIN_CLUSTERS` clusters have weight, all replicates are NaN.

    Args:
        clusters: The cluster of each observation, ``[N]``.
        seed: Seed of the draws.
        replicates: Number of resamples.

    Example:
        >>> bootstrap = Bootstrap(["a", "a", "b"], seed=0)
        >>> bootstrap.mean(np.array([0.0, 0.0, 1.0])).estimate().high
        1.0
    """

    def __init__(self, clusters: Sequence[str], *, seed: int, replicates: int = REPLICATES) -> None:
        _, self._cluster = np.unique(np.asarray(clusters), return_inverse=True)
        self._n_clusters = int(self._cluster.max()) + 1
        rng = np.random.Generator(np.random.Philox(key=seed))
        even = np.full(self._n_clusters, 1 / self._n_clusters)
        self._counts = rng.multinomial(self._n_clusters, even, size=replicates).astype(np.float64)

    def mean(self, values: Values, weights: Values | None = None) -> Replicates:
        """Return the weighted mean and its replicates.

        Args:
            values: float64 ``[N]``.
            weights: float64 ``[N]``, 1 by default. Observations of weight 0 are excluded; a
                resample that contains no others has no mean (NaN).
        """
        weights = np.ones_like(values) if weights is None else weights
        total = np.bincount(self._cluster, weights * values, self._n_clusters)
        weight = np.bincount(self._cluster, weights, self._n_clusters)
        resampled = np.full(len(self._counts), np.nan)
        if np.count_nonzero(weight) >= MIN_CLUSTERS:
            with np.errstate(invalid="ignore"):
                resampled = (self._counts @ total) / (self._counts @ weight)
        return Replicates(float((weights * values).sum() / weights.sum()), resampled)

    def median(self, values: Values, weights: Values | None = None) -> Replicates:
        """Return the weighted median and its replicates.

        If the weight splits evenly between two values, the median is their midpoint.

        Args:
            values: float64 ``[N]``.
            weights: As for :meth:`mean`.
        """
        weights = np.ones_like(values) if weights is None else weights
        order = np.argsort(values, kind="stable")
        ordered, shares, cluster = values[order], weights[order], self._cluster[order]
        value = float(_sorted_medians(ordered, shares[None])[0])
        if np.count_nonzero(np.bincount(self._cluster, weights)) < MIN_CLUSTERS:
            return Replicates(value, np.full(len(self._counts), np.nan))
        # One row per resample, in blocks, so that memory does not grow with their number.
        rows = max(1, _MAX_BLOCK_ELEMENTS // len(values))
        resampled = [
            _sorted_medians(ordered, self._counts[start : start + rows].take(cluster, 1) * shares)
            for start in range(0, len(self._counts), rows)
        ]
        return Replicates(value, np.concatenate(resampled))


def _sorted_medians(ordered: Values, weights: Values) -> Values:
    """Return the median of ascending values ``[N]`` for each row of weights ``[R, N]``.

    A row without weight gives NaN.
    """
    cumulative = np.cumsum(weights, axis=1)
    total = cumulative[:, -1:]
    # Sums of thirds and the like miss an even split by rounding; treat those as even.
    slack = 1e-9 * total
    low = ordered[(cumulative < total / 2 - slack).sum(axis=1)]
    high = ordered[(cumulative < total / 2 + slack).sum(axis=1)]
    return np.where(total[:, 0] > 0, (low + high) / 2, np.nan)
