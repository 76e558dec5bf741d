"""What a ranking starts from: matrices, positives, and a gallery's distinct rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from robustness.counts import Counts

Positives = Sequence[Sequence[int]] | Sequence[Counts] | Counts
"""For each query the gallery indexes that are right; or one index a query."""

ROWS = 512
"""Rows looked at together, which caches hold, where a whole matrix would be a copy of it."""

TILE_BYTES = 32 * 2**20
"""Bytes of scores at once on a CPU; small enough to be kind to caches."""

SHARE = 8
"""On an accelerator, scores take one in so many parts of the memory that is free."""

LARGEST = 2**31
"""Bytes of scores at once at most: more of them are no faster."""


def score_bytes(device: torch.device) -> int:
    """How many bytes of scores are made at once on a device."""
    if device.type != "cuda":
        return TILE_BYTES
    free, _ = torch.cuda.mem_get_info(device)
    return max(TILE_BYTES, min(LARGEST, free // SHARE))


@dataclass(frozen=True)
class Distinct:
    """The distinct rows of a matrix, in an order that the caller's order cannot change.

    Attributes:
        matrix: float32 ``[G, D]``, as it was given.
        first: int64 ``[U]``, where in it each distinct row stands first.
        copies: int64 ``[U]``, how many of its rows each stands for.
        of_item: int64 ``[G]``, the distinct row of each of its rows.
    """

    matrix: Tensor
    first: Tensor
    copies: Tensor
    of_item: Tensor

    def __len__(self) -> int:
        """The number of distinct rows."""
        return len(self.first)

    @cached_property
    def rows(self) -> Tensor:
        """All the distinct rows, float32 ``[U, D]``: a copy."""
        return self.matrix[self.first]


def distinct(matrix: Tensor) -> Distinct:
    """Finds a matrix's distinct rows; -0.0 is 0.0.

    Args:
        matrix: float32 ``[G, D]``, finite.
    """
    odd = torch.from_numpy(
        np.random.Philox(key=0).random_raw(matrix.shape[1]).astype(np.int64) | 1
    ).to(matrix.device)
    hashed = torch.empty(len(matrix), dtype=torch.int64, device=matrix.device)
    for start in range(0, len(matrix), ROWS):
        # Adding zero turns -0.0 into 0.0: equal numbers get equal bits.
        block = (matrix[start : start + ROWS] + 0.0).view(torch.int32).long()
        hashed[start : start + ROWS] = (block * odd).sum(1)
    order = torch.argsort(hashed, stable=True)
    starts = torch.ones(len(order), dtype=torch.bool, device=matrix.device)
    alike = hashed[order[1:]] == hashed[order[:-1]]
    for some in torch.split(alike.nonzero()[:, 0] + 1, ROWS):
        # Rows are compared, not only their hashes: a collision costs an order, never a count.
        starts[some] = (matrix[order[some]] != matrix[order[some - 1]]).any(1)
    group = torch.cumsum(starts, 0) - 1
    of_item = torch.empty_like(order)
    of_item[order] = group
    return Distinct(matrix, order[starts], torch.bincount(group), of_item)


@contextmanager
def full_float32() -> Iterator[None]:
    """Keeps TF32 and bfloat16 products out of the scores (they tie 20 items a query)."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def as_matrix(values: ArrayLike | Tensor, name: str) -> Tensor:
    """A float32 matrix with rows, all of it finite."""
    rows = values if isinstance(values, Tensor) else torch.from_numpy(np.asarray(values))
    rows = rows.detach().float()
    if rows.ndim != 2:  # noqa: PLR2004
        raise ValueError(f"{name} has shape {list(rows.shape)}; it is a matrix, [rows, columns]")
    if len(rows) == 0:
        raise ValueError(f"there are no {name}" if name.endswith("s") else f"there is no {name}")
    # The extremes of what is not finite are not finite either.
    if rows.numel() and not torch.isfinite(torch.stack(torch.aminmax(rows))).all():
        bad = int((~torch.isfinite(rows)).sum())
        verb = "hold" if name.endswith("s") else "holds"
        raise ValueError(f"{name} {verb} {bad} values that are not finite")
    return rows


def flatten(positives: Positives, n_queries: int, n_gallery: int) -> tuple[Counts, Counts]:
    """All the positives one after the other, and where each query's begin: ``[Q + 1]``."""
    if len(positives) != n_queries:
        raise ValueError(f"{len(positives)} lists of positives for {n_queries} queries")
    if isinstance(positives, np.ndarray) and positives.ndim == 1:
        flat, sizes = positives, np.ones(n_queries, dtype=np.int64)
    else:
        lists = [np.atleast_1d(np.asarray(right)) for right in positives]
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
