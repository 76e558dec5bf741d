"""Where right answers stand: what a ranking comes down to, as plain arrays.

Apart from :mod:`robustness.ranking`, so that what reads ranks needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RankCounts:
    """Where each query's right answers stand, before ties are broken.

    A query's positives are the gallery items that are right for it; the best positive
    is the one that scores highest. Pairs are (query, positive), query by query.

    Attributes:
        greater: int64 ``[Q]``, items outside the positives that score above the best one.
        equal: int64 ``[Q]``, items outside the positives that score exactly as it does.
        tied: int64 ``[Q]``, positives that score as the best one does, itself included.
        positives: int64 ``[Q]``, how many positives each query has.
        pair_greater: int64 ``[P]``, items of any kind that score above this positive.
        pair_equal: int64 ``[P]``, other items of any kind that score exactly as it does.
        gallery_size: How many items are ranked.
    """

    greater: Counts
    equal: Counts
    tied: Counts
    positives: Counts
    pair_greater: Counts
    pair_equal: Counts
    gallery_size: int

    def __len__(self) -> int:
        """The number of queries."""
        return len(self.greater)

    def arrays(self) -> dict[str, Counts]:
        """All but the gallery's size, by name."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "gallery_size"}

    @classmethod
    def of(cls, arrays: Mapping[str, ArrayLike], gallery_size: int) -> RankCounts:
        """The inverse of :meth:`arrays`; the arrays may be lists."""
        given = {name: np.asarray(array, np.int64) for name, array in arrays.items()}
        return cls(**given, gallery_size=gallery_size)


def first_place(equal: int, tied: int) -> NDArray[np.float64]:
    """The chance that the first of the tied positives stands at place 1, 2, ... of its ties.

    Args:
        equal: How many items that are no positives stand in the tie.
        tied: How many positives do, at least one.

    Returns:
        float64 ``[equal + 1]``; its sum is 1.
    """
    total = equal + tied
    behind = (equal - np.arange(equal)) / (total - np.arange(equal))
    # Place j is first if the j - 1 before it are all others and it is not.
    reached = np.concatenate([[1.0], np.cumprod(behind)])
    return reached * tied / (total - np.arange(equal + 1))
