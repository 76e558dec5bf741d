"""Ranks of the right answers, without an N x N matrix in memory.

Scores are float32 dot products, whatever precision the caller's settings allow. Three
things go wrong in silence here, and shape this module:

- Ties. Where all embeddings are equal, "how many score above" is 0 for everybody, a
  perfect rank; so ties are counted beside it and metrics take their expectation.
- A positive's score must come from the same product as its rivals': computed apart it
  differs in its last bits. It is read from the tile, and excluded by its index.
- A product's last bits depend on where in the matrix a row stands. The gallery's
  distinct rows are brought into an order of their own first, so that equal rows score
  equally and the caller's order changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from robustness.counts import Counts, RankCounts

Score = Callable[[Tensor, Tensor], Tensor]
"""Scores of queries with a gallery: ``[q, D]`` and ``[U, D]`` to ``[q, U]``."""

Positives = Sequence[Sequence[int]] | Sequence[Counts] | Counts
"""For each query the gallery indexes that are right; or one index a query."""

Watch = Callable[[int, Tensor, "Distinct"], None]
"""Sees a tile: its first query's index, its scores ``[q, U]``, and their columns."""

TILE_BYTES = 32 * 2**20
"""Size of one tile of scores where the caller names none; small enough to be kind to caches."""


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
        tile_rows: Queries scored at once; the default keeps a tile near 32 MiB.
        watch: Called with each tile, in the order of the queries, so that what else is to be
            known of a ranking costs no second scoring.

    Returns:
        The counts, on the host.

    Raises:
        ValueError: An input is empty, not finite or of a wrong shape, a query has no
            positive, or a positive is not in the gallery.
    """
    query_rows = _matrix(queries, "queries")
    gallery_rows = _matrix(gallery, "gallery").to(query_rows.device)
    if query_rows.shape[1] != gallery_rows.shape[1]:
        raise ValueError(
            f"queries have shape {list(query_rows.shape)} and gallery"
            f" {list(gallery_rows.shape)}; both need the same number of columns"
        )
    right, offsets = _flatten(positives, len(query_rows), len(gallery_rows))
    if tile_rows is None:
        tile_rows = max(1, TILE_BYTES // (4 * len(gallery_rows)))
    columns = _distinct(gallery_rows)
    right_columns = columns.of_item[torch.from_numpy(right).to(query_rows.device)]
    tiles = []
    with torch.inference_mode(), _full_float32():
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


@dataclass(frozen=True, slots=True)
class Distinct:
    """The distinct rows of a gallery, in an order that the caller's order cannot change.

    Attributes:
        rows: float32 ``[U, D]``.
        copies: int64 ``[U]``, how many gallery items each row stands for.
        of_item: int64 ``[G]``, the row of each gallery item.
    """

    rows: Tensor
    copies: Tensor
    of_item: Tensor


def _distinct(gallery: Tensor) -> Distinct:
    # Adding zero turns -0.0 into 0.0: equal numbers get equal bits.
    bits = (gallery + 0.0).contiguous().view(torch.int32)
    odd = torch.from_numpy(
        np.random.Philox(key=0).random_raw(bits.shape[1]).astype(np.int64) | 1
    ).to(bits.device)
    hashed = torch.empty(len(bits), dtype=torch.int64, device=bits.device)
    for start in range(0, len(bits), 4096):
        block = bits[start : start + 4096].long()
        hashed[start : start + 4096] = (block * odd + (block * block)).sum(1)
    order = torch.argsort(hashed, stable=True)
    ordered = bits[order]
    starts = torch.ones(len(order), dtype=torch.bool, device=bits.device)
    # Rows are compared, not only their hashes: a collision costs an order, never a count.
    starts[1:] = (ordered[1:] != ordered[:-1]).any(1)
    group = torch.cumsum(starts, 0) - 1
    of_item = torch.empty_like(order)
    of_item[order] = group
    return Distinct(gallery[order[starts]], torch.bincount(group), of_item)


@contextmanager
def _full_float32() -> Iterator[None]:
    """Keeps TF32 and bfloat16 products out of the scores (they tie 20 items a query)."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _matrix(values: ArrayLike | Tensor, name: str) -> Tensor:
    """A float32 matrix with rows, all of it finite."""
    rows = values if isinstance(values, Tensor) else torch.from_numpy(np.asarray(values))
    rows = rows.detach().float()
    if rows.ndim != 2:  # noqa: PLR2004
        raise ValueError(f"{name} has shape {list(rows.shape)}; it is a matrix, [rows, columns]")
    if len(rows) == 0:
        raise ValueError("there are no queries" if name == "queries" else "there is no gallery")
    bad = int((~torch.isfinite(rows)).sum())
    if bad:
        verb = "hold" if name.endswith("s") else "holds"
        raise ValueError(f"{name} {verb} {bad} values that are not finite")
    return rows


def _flatten(positives: Positives, n_queries: int, n_gallery: int) -> tuple[Counts, Counts]:
    """All the positives one after the other, and where each query's begin: ``[Q + 1]``."""
    if len(positives) != n_queries:
        raise ValueError(f"{len(positives)} lists of positives for {n_queries} queries")
    if isinstance(positives, np.ndarray) and positives.ndim == 1:
        flat, sizes = positives, np.ones(n_queries, dtype=np.int64)
    else:
        lists = [np.asarray(right) for right in positives]
        sizes = np.array([right.size for right in lists])
        if not sizes.all():
            raise ValueError(f"query {int(np.argmin(sizes))} has no positive")
        flat = np.concatenate(lists)
    if not np.issubdtype(flat.dtype, np.integer):
        raise ValueError(f"positives are whole numbers, not {flat.dtype}")
    query = np.repeat(np.arange(n_queries), sizes)
    outside = (flat < 0) | (flat >= n_gallery)
    if outside.any():
        first = int(np.argmax(outside))
        raise ValueError(
            f"query {query[first]} has positive {flat[first]}; the gallery has {n_gallery} items"
        )
    order = np.lexsort((flat, query))
    twice = (np.diff(flat[order]) == 0) & (np.diff(query[order]) == 0)
    if twice.any():
        first = order[int(np.argmax(twice))]
        raise ValueError(f"query {query[first]} names positive {flat[first]} twice")
    return flat.astype(np.int64), np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
