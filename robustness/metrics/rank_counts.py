"""Rank statistics of each query's positives (torch-free).

:mod:`robustness.ranking` produces them, :mod:`robustness.metrics` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Counts = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RankCounts:
    """Rank counts of Q queries, before ties are broken.

    A query's positives are the gallery items that are relevant to it; the best positive is
    the one with the highest score. Pairs are (query, positive), ordered by query.

    Attributes:
        greater: int64 ``[Q]``, non-positives with a higher score than the best positive.
        equal: int64 ``[Q]``, non-positives with the same score as the best positive.
        tied: int64 ``[Q]``, positives with the score of the best positive, itself included.
        positives: int64 ``[Q]``, number of positives of each query.
        pair_greater: int64 ``[P]``, items of any kind with a higher score than this positive.
        pair_equal: int64 ``[P]``, other items of any kind with the same score.
        gallery_size: Number of ranked items.
    """

    greater: Counts
    equal: Counts
    tied: Counts
    positives: Counts
    pair_greater: Counts
    pair_equal: Counts
    gallery_size: int

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.greater)

    def arrays(self) -> dict[str, Counts]:
        """Return all arrays by name (every attribute except ``gallery_size``)."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "gallery_size"}

    @classmethod
    def of(cls, arrays: Mapping[str, ArrayLike], gallery_size: int) -> RankCounts:
        """Build rank counts from the output of :meth:`arrays`; lists are accepted."""
        converted = {name: np.asarray(array, np.int64) for name, array in arrays.items()}
        return cls(**converted, gallery_size=gallery_size)


@dataclass(frozen=True, slots=True)
class TopGains:
    """Expected gains at the first K ranks of each query, under random tie-breaking.

    There are two kinds of gain: binary relevance (0 or 1) and graded relevance (0 to 1).
    Ranks beyond the gallery have gain 0.

    Attributes:
        binary: float64 ``[Q, K]``, the probability that the item at this rank is relevant.
        graded: float64 ``[Q, K]``, the expected graded gain at this rank.
        ideal: float64 ``[Q, K]``, the gallery's highest graded gains in descending order.
        mean_binary: float64 ``[Q]``, the fraction of the gallery that is relevant.
        mean_graded: float64 ``[Q]``, the mean graded gain over the gallery.
        gallery_size: Number of ranked items.
    """

    binary: Values
    graded: Values
    ideal: Values
    mean_binary: Values
    mean_graded: Values
    gallery_size: int

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.binary)


def first_position_probabilities(equal: int, tied: int) -> Values:
    """Return the distribution of the first positive's position within its tie group.

    Args:
        equal: Number of non-positives in the tie group.
        tied: Number of positives in the tie group, at least one.

    Returns:
        float64 ``[equal + 1]``: the probability of position 1, 2, ...; the sum is 1.

    Example:
        >>> first_position_probabilities(equal=1, tied=1).tolist()
        [0.5, 0.5]
    """
    total = equal + tied
    behind = (equal - np.arange(equal)) / (total - np.arange(equal))
    # Position j is the first positive if the j - 1 before it are non-positives and it is not.
    reached = np.concatenate([[1.0], np.cumprod(behind)])
    return reached * tied / (total - np.arange(equal + 1))
