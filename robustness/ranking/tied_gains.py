"""Expected gains at the first ranks of a ranking, under random tie-breaking.

Gain: graded relevance in [0, 1]. If items tie, the expected gain at each of their ranks is the
mean gain of the whole tie, even if only some of its ranks are among the first K (McSherry and
Najork 2008, "Computing information retrieval performance measures efficiently in the presence
of tied scores").

Gains are multiples of :data:`GRAIN`. Their sums are exact in float64, so the order of the
gallery, the tiles and the device's order of addition do not change a bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

GRAIN = 2.0**-32
"""Gains are multiples of this; sums of up to two million of them are exact in float64."""


def expected_gains(scores: Tensor, gains: Tensor, depth: int) -> Tensor:
    """Return the expected gain at each of the first ranks.

    Args:
        scores: float32 ``[q, G]``, the score of each query with each gallery item.
        gains: float64 ``[S, q, G]``, S kinds of gain; multiples of :data:`GRAIN`.
        depth: Number of ranks, K.

    Returns:
        float64 ``[S, q, K]``; 0 at ranks beyond the gallery.

    Example:
        >>> scores = torch.tensor([[3.0, 2.0, 2.0, 1.0]])
        >>> gains = torch.tensor([[[0.0, 1.0, 0.0, 1.0]]], dtype=torch.float64)
        >>> expected_gains(scores, gains, depth=4).tolist()
        [[[0.0, 0.5, 0.5, 1.0]]]
    """
    size = scores.shape[1]
    reached = min(depth, size)
    # One rank more than requested shows if the last rank's tie continues beyond it.
    ordered, items = scores.topk(min(depth + 1, size), dim=1)
    top = ordered[:, :reached]
    of_items = gains.gather(2, items[:, :reached].expand(len(gains), -1, -1))
    tied = (top[:, :, None] == top[:, None, :]).double()
    sums, sizes = torch.einsum("qij,sqj->sqi", tied, of_items), tied.sum(2)
    beyond = (ordered[:, reached:] == ordered[:, reached - 1 : reached]).any(1)
    if beyond.any():
        last = top[beyond, -1:]
        level, at_last = (scores[beyond] == last).double(), top[beyond] == last
        whole = (gains[:, beyond] * level).sum(2, keepdim=True)
        sums[:, beyond] = torch.where(at_last, whole, sums[:, beyond])
        sizes[beyond] = torch.where(at_last, level.sum(1, keepdim=True), sizes[beyond])
    return torch.nn.functional.pad(sums / sizes, (0, depth - reached))


def ideal_gains(gains: Tensor, depth: int) -> Tensor:
    """Return the highest gains of each query in descending order.

    Args:
        gains: float64 ``[q, G]``.
        depth: Number of ranks, K.

    Returns:
        float64 ``[q, K]``; 0 at ranks beyond the gallery.

    Example:
        >>> ideal_gains(torch.tensor([[0.0, 1.0, 0.5]], dtype=torch.float64), depth=2).tolist()
        [[1.0, 0.5]]
    """
    reached = min(depth, gains.shape[1])
    return torch.nn.functional.pad(gains.topk(reached, dim=1).values, (0, depth - reached))
