"""Validated inputs of a ranking: matrices, positives and distinct gallery rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from robustness.metrics.rank_counts import Counts

Positives = Sequence[Sequence[int]] | Sequence[Counts] | Counts
"""For each query the gallery indexes of its positives; or one index per query."""

CHUNK_ROWS = 512
"""Rows processed at once; a chunk fits the cache, all rows would be a copy of the matrix."""

TILE_BYTES = 32 * 2**20
"""Bytes of scores computed at once on a CPU; small enough for its caches."""

FREE_MEMORY_DIVISOR = 8
"""On a GPU, scores take at most the free memory divided by this."""

MAX_SCORE_BYTES = 2**31
"""Maximum bytes of scores computed at once; more is not faster."""


def score_bytes(device: torch.device) -> int:
    """Return the number of bytes of scores to compute at once on a device."""
    if device.type != "cuda":
        return TILE_BYTES
    free, _ = torch.cuda.mem_get_info(device)
    return max(TILE_BYTES, min(MAX_SCORE_BYTES, free // FREE_MEMORY_DIVISOR))


@dataclass(frozen=True)
class Distinct:
    """The U distinct rows of a matrix, in an order independent of the order of its rows.

    Attributes:
        matrix: float32 ``[G, D]``, the matrix.
        first: int64 ``[U]``, the index in the matrix of each distinct row's first occurrence.
        copies: int64 ``[U]``, number of occurrences of each distinct row.
        of_item: int64 ``[G]``, the distinct row of each row of the matrix.
    """

    matrix: Tensor
    first: Tensor
    copies: Tensor
    of_item: Tensor

    def __len__(self) -> int:
        """Return the number of distinct rows."""
        return len(self.first)

    @cached_property
    def rows(self) -> Tensor:
        """A copy of the distinct rows, float32 ``[U, D]``."""
        return self.matrix[self.first]


def distinct(matrix: Tensor) -> Distinct:
    """Find the distinct rows of a matrix; -0.0 equals 0.0.

    Args:
        matrix: float32 ``[G, D]``, finite.
    """
    odd = torch.from_numpy(
        np.random.Philox(key=0).random_raw(matrix.shape[1]).astype(np.int64) | 1
    ).to(matrix.device)
    hashed = torch.empty(len(matrix), dtype=torch.int64, device=matrix.device)
    for start in range(0, len(matrix), CHUNK_ROWS):
        # Adding zero turns -0.0 into 0.0, so that equal numbers have equal bits.
        block = (matrix[start : start + CHUNK_ROWS] + 0.0).view(torch.int32).long()
        hashed[start : start + CHUNK_ROWS] = (block * odd).sum(1)
    order = torch.argsort(hashed, stable=True)
    starts = torch.ones(len(order), dtype=torch.bool, device=matrix.device)
    same_hash = hashed[order[1:]] == hashed[order[:-1]]
    for chunk in torch.split(same_hash.nonzero()[:, 0] + 1, CHUNK_ROWS):
        # Compare rows, not only hashes: a collision may split copies but never merges rows.
        starts[chunk] = (matrix[order[chunk]] != matrix[order[chunk - 1]]).any(1)
    group = torch.cumsum(starts, 0) - 1
    of_item = torch.empty_like(order)
    of_item[order] = group
    return Distinct(matrix, order[starts], torch.bincount(group), of_item)


@contextmanager
def full_float32() -> Iterator[None]:
    """Disable TF32 and bfloat16 matrix products (they tie 20 items per query)."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def as_matrix(values: ArrayLike | Tensor, name: str) -> Tensor:
    """Return a detached float32 matrix; reject empty, misshapen or non-finite input."""
    rows = values if isinstance(values, Tensor) else torch.from_numpy(np.asarray(values))
    rows = rows.detach().float()
    if rows.ndim != 2:  # noqa: PLR2004
        raise ValueError(
            f"{name} has shape {list(rows.shape)}; it must be a matrix, [rows, columns]"
        )
    if len(rows) == 0:
        raise ValueError(f"there are no {name}" if name.endswith("s") else f"there is no {name}")
    # A non-finite value makes the minimum or the maximum non-finite: no boolean copy needed.
    if rows.numel() and not torch.isfinite(torch.stack(torch.aminmax(rows))).all():
        bad = int((~torch.isfinite(rows)).sum())
        verb = "contain" if name.endswith("s") else "contains"
        raise ValueError(f"{name} {verb} {bad} values that are not finite")
    return rows


def flatten(positives: Positives, n_queries: int, n_gallery: int) -> tuple[Counts, Counts]:
    """Return all positives in query order ``[P]``, and the offset of each query ``[Q + 1]``."""
    if len(positives) != n_queries:
        raise ValueError(f"{len(positives)} lists of positives for {n_queries} queries")
    if isinstance(positives, np.ndarray) and positives.ndim == 1:
        flat, sizes = positives, np.ones(n_queries, dtype=np.int64)
    else:
        lists = [np.atleast_1d(np.asarray(own)) for own in positives]
        sizes = np.array([own.size for own in lists])
        if not sizes.all():
            raise ValueError(f"query {int(np.argmin(sizes))} has no positive")
        flat = np.concatenate(lists)
    if not np.issubdtype(flat.dtype, np.integer):
        raise ValueError(f"positives must be integers, not {flat.dtype}")
    query = np.repeat(np.arange(n_queries), sizes)
    outside = (flat < 0) | (flat >= n_gallery)
    if outside.any():
        first = int(np.argmax(outside))
        raise ValueError(
            f"query {query[first]} has positive {flat[first]}; the gallery has {n_gallery} items"
        )
    order = np.lexsort((flat, query))
    duplicate = (np.diff(flat[order]) == 0) & (np.diff(query[order]) == 0)
    if duplicate.any():
        first = order[int(np.argmax(duplicate))]
        raise ValueError(f"query {query[first]} has duplicate positive {flat[first]}")
    return flat.astype(np.int64), np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
