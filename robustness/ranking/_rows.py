"""Ranking one direction's queries, a tile of whole rows after another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from robustness.counts import RankCounts
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
"""Scores of queries with a gallery: ``[q, D]`` and ``[U, D]`` to ``[q, U]``."""

Watch = Callable[[int, Tensor, Distinct], None]
"""Sees a tile: its first query's index, its scores ``[q, U]``, and their columns."""


def rank_counts(
    queries: ArrayLike | Tensor,
    gallery: ArrayLike | Tensor,
    positives: Positives,
    *,
    score: Score | None = None,
    tile_rows: int | None = None,
    watch: Watch | None = None,
) -> RankCounts:
    """Counts, for each query, the gallery items above and level with its positives.

    Args:
        queries: float32 ``[Q, D]``, array or tensor, on any device.
        gallery: float32 ``[G, D]``; it is moved to the queries' device.
        positives: For each query the gallery indexes that are right, in any order; or
            one index a query, as an integer array ``[Q]``.
        score: From queries ``[q, D]`` and a gallery ``[U, D]`` to scores ``[q, U]``; the dot
            product, where there is none.
        tile_rows: Queries scored at once; the default suits the device, 32 MiB on a
            CPU.
        watch: Called with each tile, in the order of the queries, so that what else is to be
            known of a ranking costs no second scoring.

    Returns:
        The counts, on the host.

    Raises:
        ValueError: An input is empty, not finite or of a wrong shape, a query has no
            positive, or a positive is not in the gallery.
    """
    query_rows = as_matrix(queries, "queries")
    gallery_rows = as_matrix(gallery, "gallery").to(query_rows.device)
    if query_rows.shape[1] != gallery_rows.shape[1]:
        raise ValueError(
            f"queries have shape {list(query_rows.shape)} and gallery"
            f" {list(gallery_rows.shape)}; both need the same number of columns"
        )
    right, offsets = flatten(positives, len(query_rows), len(gallery_rows))
    if tile_rows is None:
        tile_rows = max(1, score_bytes(query_rows.device) // (4 * len(gallery_rows)))
    columns = distinct(gallery_rows)
    right_columns = columns.of_item[torch.from_numpy(right).to(query_rows.device)]
    tiles = []
    with torch.inference_mode(), full_float32():
        for start in range(0, len(query_rows), tile_rows):
            stop = min(start + tile_rows, len(query_rows))
            scores = _scores(query_rows[start:stop], columns.rows, score)
            if watch is not None:
                watch(start, scores, columns)
            bounds = offsets[start : stop + 1]
            sizes = torch.from_numpy(np.diff(bounds)).to(scores.device)
            tiles.append(
                _count_tile(scores, columns.copies, right_columns[bounds[0] : bounds[-1]], sizes)
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
        raise ValueError(f"scores have shape {list(scores.shape)}; they are {list(shape)}")
    if not torch.isfinite(scores).all():
        raise ValueError("scores hold values that are not finite")
    return scores


def _count_tile(
    scores: Tensor, copies: Tensor, right: Tensor, sizes: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The five counts of a tile.

    Args:
        scores: float32 ``[q, U]``, of each query with each distinct gallery row.
        copies: int64 ``[U]``, how many gallery items each of those rows stands for.
        right: int64 ``[p]``, the column of each pair's positive.
        sizes: int64 ``[q]``, how many pairs each query has.
    """
    query = torch.repeat_interleave(sizes)
    of_pair = scores[query, right]
    best = torch.full_like(scores[:, 0], -torch.inf).scatter_reduce(0, query, of_pair, "amax")
    tied = torch.zeros_like(sizes).index_add_(0, query, (of_pair == best[query]).long())
    above, level = _tally(scores, best, copies)
    # No positive scores above the best one, and those level with it are the tied ones.
    greater, equal = above, level - tied
    pair_greater, pair_equal = greater[query], equal[query] + tied[query] - 1
    # A lone positive is the best one; only queries with several need the other counts.
    several = sizes > 1
    if several.any():
        pairs = several[query]
        rows = (torch.cumsum(several, 0) - 1)[query[pairs]]
        pair_greater[pairs], pair_equal[pairs] = _tally_many(
            scores[several], rows, of_pair[pairs], copies
        )
    return greater, equal, tied, pair_greater, pair_equal


def _tally(scores: Tensor, value: Tensor, copies: Tensor) -> tuple[Tensor, Tensor]:
    """How many items of each row score above, and exactly as, one value a row."""
    above, level = scores > value[:, None], scores == value[:, None]
    if len(copies) == int(copies.sum()):
        return above.sum(1), level.sum(1)
    return torch.where(above, copies, 0).sum(1), torch.where(level, copies, 0).sum(1)


def _tally_many(
    scores: Tensor, row: Tensor, value: Tensor, copies: Tensor
) -> tuple[Tensor, Tensor]:
    """The same for many values a row, each of which stands in its row: other items only."""
    ordered, order = scores.sort(dim=1)
    upto = torch.nn.functional.pad(copies[order].cumsum(1), (1, 0))
    # Rows take very different numbers of values, so each value searches its row by itself.
    low = torch.empty_like(row)
    high = torch.empty_like(row)
    for i in range(len(scores)):
        mine = row == i
        low[mine] = torch.searchsorted(ordered[i], value[mine])
        high[mine] = torch.searchsorted(ordered[i], value[mine], right=True)
    below, upto_level = upto[row, low], upto[row, high]
    return copies.sum() - upto_level, upto_level - below - 1
