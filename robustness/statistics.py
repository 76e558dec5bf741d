"""Intervals by the bootstrap over studies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

REPLICATES = 1000
CONFIDENCE = 0.95

FEWEST = 2
"""Studies that an interval takes: every resample of a single one is it, which is no certainty."""

_BLOCK = 2**17
"""Numbers in one block of resampled weights: 1 MiB, which is used again where more is not."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval; a bound that no level reaches is inf, an unknown NaN."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Replicates:
    """A statistic of the data beside the same statistic of every resample.

    Statistics of one :class:`Bootstrap` share their resamples, so functions of several
    of them (a difference, a ratio, a curve) are right replicate by replicate.

    Attributes:
        value: The statistic of the data.
        resampled: float64 ``[R]``, of each resample.
    """

    value: float
    resampled: Values

    def estimate(self, confidence: float = CONFIDENCE) -> Estimate:
        """The value with its percentile interval (Efron and Tibshirani 1993, chapter 13).

        A resample in which the statistic is unknown (NaN) makes the interval unknown:
        leaving it out would shorten the interval just where the data say least.
        """
        ordered = np.sort(self.resampled)
        if np.isnan(ordered).any() or np.isnan(self.value):
            return Estimate(self.value, np.nan, np.nan)
        # Order statistics, not interpolated: an infinite one must not make its neighbour NaN.
        tail = (1 - confidence) / 2
        low, high = np.quantile(ordered, [tail, 1 - tail], method="inverted_cdf")
        return Estimate(self.value, float(low), float(high))


class Bootstrap:
    """Resamples of whole studies, drawn once and used for every statistic.

    Images of one study are alike, so studies are drawn with replacement, and with a
    study come all its images. A resample is a count of each study. Of fewer than
    :data:`FEWEST` studies that have weight, every resample is unknown (NaN).

    Args:
        studies: For each observation its study, ``[N]``.
        seed: Of the draws.
        replicates: How many resamples.
    """

    def __init__(self, studies: Sequence[str], *, seed: int, replicates: int = REPLICATES) -> None:
        _, self._study = np.unique(np.asarray(studies), return_inverse=True)
        self._n_studies = int(self._study.max()) + 1
        rng = np.random.Generator(np.random.Philox(key=seed))
        even = np.full(self._n_studies, 1 / self._n_studies)
        self._counts = rng.multinomial(self._n_studies, even, size=replicates).astype(np.float64)

    def mean(self, values: Values, weights: Values | None = None) -> Replicates:
        """The weighted mean of one value an observation.

        Args:
            values: float64 ``[N]``.
            weights: float64 ``[N]``, all 1 where there are none. An observation of weight 0 is
                left out; a resample of such observations alone has no mean (NaN).
        """
        weights = np.ones_like(values) if weights is None else weights
        total = np.bincount(self._study, weights * values, self._n_studies)
        weight = np.bincount(self._study, weights, self._n_studies)
        resampled = np.full(len(self._counts), np.nan)
        if np.count_nonzero(weight) >= FEWEST:
            with np.errstate(invalid="ignore"):
                resampled = (self._counts @ total) / (self._counts @ weight)
        return Replicates(float((weights * values).sum() / weights.sum()), resampled)

    def median(self, values: Values, weights: Values | None = None) -> Replicates:
        """The weighted median of one value an observation; arguments as for :meth:`mean`.

        Where the weight splits evenly between two values it is the middle of the two.
        """
        weights = np.ones_like(values) if weights is None else weights
        order = np.argsort(values, kind="stable")
        ordered, shares, study = values[order], weights[order], self._study[order]
        value = float(_sorted_medians(ordered, shares[None])[0])
        if np.count_nonzero(np.bincount(self._study, weights)) < FEWEST:
            return Replicates(value, np.full(len(self._counts), np.nan))
        # A row a resample; some at a time, so that memory does not grow with their number.
        rows = max(1, _BLOCK // len(values))
        resampled = [
            _sorted_medians(ordered, self._counts[start : start + rows].take(study, 1) * shares)
            for start in range(0, len(self._counts), rows)
        ]
        return Replicates(value, np.concatenate(resampled))


def _sorted_medians(ordered: Values, weights: Values) -> Values:
    """The median of rising values ``[N]`` under each row of weights ``[R, N]``; NaN for none."""
    upto = np.cumsum(weights, axis=1)
    total = upto[:, -1:]
    # Sums of thirds and the like miss an even split by a rounding; treat those as even.
    slack = 1e-9 * total
    low = ordered[(upto < total / 2 - slack).sum(axis=1)]
    high = ordered[(upto < total / 2 + slack).sum(axis=1)]
    return np.where(total[:, 0] > 0, (low + high) / 2, np.nan)
