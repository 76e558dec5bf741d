"""Rank counts of one direction, computed in tiles of whole rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from robustness.metrics.rank_counts import RankCounts
from robustness.ranking._inputs import (
    Distinct,
    Positives,
    as_matrix,
    distinct,
    flatten,
    full_float32,
    score_bytes,
)

Score = Callable[[Tensor, Tensor], Tensor]
"""Score function: queries ``[q, D]`` and gallery ``[U, D]`` to scores ``[q, U]``."""

TileCallback = Callable[[int, Tensor, Distinct], None]
"""Receives a tile: its first query's index, its scores ``[q, U]``, and their columns."""


def rank_counts(
    queries: ArrayLike | Tensor,
    gallery: ArrayLike | Tensor,
    positives: Positives,
    *,
    score: Score | None = None,
    tile_rows: int | None = None,
    on_tile: TileCallback | None = None,
) -> RankCounts:
    """Return the rank counts of each query.

    A score is the dot product of two rows unless ``score`` is given.

    Args:
        queries: float32 ``[Q, D]``, array or tensor, on any device.
        gallery: float32 ``[G, D]``; it is moved to the queries' device.
        positives: For each query the gallery indexes of its positives, in any order; or
            one index per query, as an integer array ``[Q]``.
        score: From queries ``[q, D]`` and a gallery ``[U, D]`` to scores ``[q, U]``.
        tile_rows: Number of queries scored at once; by default chosen for the device
            (32 MiB of scores on a CPU).
        on_tile: Called with each tile in query order, to derive more from the same scores.

    Returns:
        The counts, as NumPy arrays.

    Raises:
        ValueError: If an input is empty, not finite or has a wrong shape, a query has no
            positive or a duplicate one, or a positive is not in the gallery.

    Example:
        >>> counts = rank_counts([[3.0, 2.0, 2.0]], np.eye(3), positives=[[1]])
        >>> counts.greater.tolist(), counts.equal.tolist()
        ([1], [1])
    """
    query_rows = as_matrix(queries, "queries")
    gallery_rows = as_matrix(gallery, "gallery").to(query_rows.device)
    if query_rows.shape[1] != gallery_rows.shape[1]:
        raise ValueError(
            f"queries have shape {list(query_rows.shape)} and gallery"
            f" {list(gallery_rows.shape)}; both need the same number of columns"
        )
    flat, offsets = flatten(positives, len(query_rows), len(gallery_rows))
    if tile_rows is None:
        tile_rows = max(1, score_bytes(query_rows.device) // (4 * len(gallery_rows)))
    columns = distinct(gallery_rows)
    positive_columns = columns.of_item[torch.from_numpy(flat).to(query_rows.device)]
    tiles = []
    with torch.inference_mode(), full_float32():
        for start in range(0, len(query_rows), tile_rows):
            stop = min(start + tile_rows, len(query_rows))
            scores = _scores(query_rows[start:stop], columns.rows, score)
            if on_tile is not None:
                on_tile(start, scores, columns)
            bounds = offsets[start : stop + 1]
            sizes = torch.from_numpy(np.diff(bounds)).to(scores.device)
            tiles.append(
                _count_tile(scores, columns.copies, positive_columns[bounds[0] : bounds[-1]], sizes)
            )
    greater, equal, tied, pair_greater, pair_equal = (
        torch.cat(parts).cpu().numpy() for parts in zip(*tiles, strict=True)
    )
    return RankCounts(
        greater, equal, tied, np.diff(offsets), pair_greater, pair_equal, len(gallery_rows)
    )


def _scores(queries: Tensor, gallery: Tensor, score: Score | None) -> Tensor:
    if score is None:
        return queries @ gallery.T
    scores = score(queries, gallery).float()
    shape = (len(queries), len(gallery))
    if tuple(scores.shape) != shape:
        raise ValueError(f"scores have shape {list(scores.shape)}; expected {list(shape)}")
    if not torch.isfinite(scores).all():
        raise ValueError("scores contain values that are not finite")
    return scores


def _count_tile(
    scores: Tensor, copies: Tensor, positive_columns: Tensor, sizes: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the five arrays of rank counts of a tile.

    Args:
        scores: float32 ``[q, U]``, of each query with each distinct gallery row.
        copies: int64 ``[U]``, number of gallery items equal to each of those rows.
        positive_columns: int64 ``[p]``, the column of each pair's positive.
        sizes: int64 ``[q]``, number of pairs of each query.
    """
    query = torch.repeat_interleave(sizes)
    of_pair = scores[query, positive_columns]
    best = torch.full_like(scores[:, 0], -torch.inf).scatter_reduce(0, query, of_pair, "amax")
    tied = torch.zeros_like(sizes).index_add_(0, query, (of_pair == best[query]).long())
    above, level = _tally(scores, best, copies)
    # No positive scores above the best one, and the positives level with it are `tied`.
    greater, equal = above, level - tied
    pair_greater, pair_equal = greater[query], equal[query] + tied[query] - 1
    # A single positive is the best one; only queries with several need the pair counts.
    several = sizes > 1
    if several.any():
        pairs = several[query]
        rows = (torch.cumsum(several, 0) - 1)[query[pairs]]
        pair_greater[pairs], pair_equal[pairs] = _tally_many(
            scores[several], rows, of_pair[pairs], copies
        )
    return greater, equal, tied, pair_greater, pair_equal


def _tally(scores: Tensor, value: Tensor, copies: Tensor) -> tuple[Tensor, Tensor]:
    """Count the items of each row with a score above, and equal to, one value per row."""
    above, level = scores > value[:, None], scores == value[:, None]
    if len(copies) == int(copies.sum()):
        return above.sum(1), level.sum(1)
    return torch.where(above, copies, 0).sum(1), torch.where(level, copies, 0).sum(1)


def _tally_many(
    scores: Tensor, row: Tensor, value: Tensor, copies: Tensor
) -> tuple[Tensor, Tensor]:
    """Count as :func:`_tally` for many values per row; the item of each value is excluded."""
    ordered, order = scores.sort(dim=1)
    cumulative = torch.nn.functional.pad(copies[order].cumsum(1), (1, 0))
    # Rows have very different numbers of values, so there is one search per row.
    low = torch.empty_like(row)
    high = torch.empty_like(row)
    for i in range(len(scores)):
        of_row = row == i
        low[of_row] = torch.searchsorted(ordered[i], value[of_row])
        high[of_row] = torch.searchsorted(ordered[i], value[of_row], right=True)
    below, up_to_level = cumulative[row, low], cumulative[row, high]
    return copies.sum() - up_to_level, up_to_level - below - 1
