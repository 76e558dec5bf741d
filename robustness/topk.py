"""Gains at the first places of a ranking, in expectation over random tie-breaking.

An item's gain says how right it is, 0 to 1. Where items tie, each of their places holds
the mean gain of all of them in expectation (McSherry and Najork 2008, "Computing
information retrieval performance measures efficiently in the presence of tied scores"),
and so it is where only some of the tied items fit among the first places.

Gains are multiples of :data:`GRAIN`. Their sums are exact in float64, so that neither the
order of the gallery, nor the tiles, nor the device's way of adding changes a last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Values = NDArray[np.float64]

GRAIN = 2.0**-32
"""Gains are multiples of this; sums of up to two million of them are exact in float64."""


@dataclass(frozen=True, slots=True)
class PlaceGains:
    """The expected gains at the first K places of each query's ranking.

    Two gains are told apart: ``same`` for items that are right or wrong, and ``overlap``
    for items that are right in part. Places beyond the gallery hold 0.

    Attributes:
        same: float64 ``[Q, K]``, the chance that the item at this place is right.
        overlap: float64 ``[Q, K]``, the expected graded gain at this place.
        best: float64 ``[Q, K]``, the graded gains of the gallery, the highest first: what
            no ranking surpasses.
        mean_same: float64 ``[Q]``, the share of the gallery that is right.
        mean_overlap: float64 ``[Q]``, the mean graded gain over the gallery.
        gallery_size: How many items are ranked.
    """

    same: Values
    overlap: Values
    best: Values
    mean_same: Values
    mean_overlap: Values
    gallery_size: int

    def __len__(self) -> int:
        """The number of queries."""
        return len(self.same)


def expected_gains(scores: Tensor, gains: Tensor, places: int) -> Tensor:
    """The expected gain at each of the first places.

    Scores 3, 2, 2, 1 with gains 0, 1, 0, 1: place 1 holds 0, places 2 and 3 hold 1/2 each,
    place 4 holds 1.

    Args:
        scores: float32 ``[q, G]``, of each query with each gallery item.
        gains: float64 ``[S, q, G]``, S kinds of gain; multiples of :data:`GRAIN`.
        places: How many places, K.

    Returns:
        float64 ``[S, q, K]``; 0 at places beyond the gallery.
    """
    size = scores.shape[1]
    reached = min(places, size)
    # One place more than asked for shows whether the last place's ties go on behind it.
    ordered, items = scores.topk(min(places + 1, size), dim=1)
    top = ordered[:, :reached]
    found = gains.gather(2, items[:, :reached].expand(len(gains), -1, -1))
    tied = (top[:, :, None] == top[:, None, :]).double()
    sums, sizes = torch.einsum("qij,sqj->sqi", tied, found), tied.sum(2)
    beyond = (ordered[:, reached:] == ordered[:, reached - 1 : reached]).any(1)
    if beyond.any():
        last = top[beyond, -1:]
        level, at_last = (scores[beyond] == last).double(), top[beyond] == last
        whole = (gains[:, beyond] * level).sum(2, keepdim=True)
        sums[:, beyond] = torch.where(at_last, whole, sums[:, beyond])
        sizes[beyond] = torch.where(at_last, level.sum(1, keepdim=True), sizes[beyond])
    return torch.nn.functional.pad(sums / sizes, (0, places - reached))


def highest_gains(gains: Tensor, places: int) -> Tensor:
    """The highest gains of each query, the highest first.

    Args:
        gains: float64 ``[q, G]``.
        places: How many, K.

    Returns:
        float64 ``[q, K]``; 0 beyond the gallery.
    """
    reached = min(places, gains.shape[1])
    return torch.nn.functional.pad(gains.topk(reached, dim=1).values, (0, places - reached))
