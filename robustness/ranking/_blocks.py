"""Rank counts of both directions from one pass over the scores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from robustness._util.progress import Stream, progress
from robustness.metrics.rank_counts import Counts, RankCounts
from robustness.ranking._inputs import (
    CHUNK_ROWS,
    Distinct,
    Positives,
    as_matrix,
    distinct,
    flatten,
    full_float32,
    score_bytes,
)
from robustness.ranking._rows import rank_counts

Block = tuple[int, int]
"""Number of images and reports in a block of scores."""

BLOCK: Block = (1024, 2048)
"""The block on a CPU: 8 MiB of scores and as much working memory, which fit the cache."""

MAX_COPY_BYTES = 2**26
"""Image embeddings up to this size are reordered as a whole, larger ones block by block."""


def rank_both(
    images: ArrayLike | Tensor,
    reports: ArrayLike | Tensor,
    reports_of_image: Positives,
    images_of_report: Positives,
    *,
    block: Block | None = None,
    stream: Stream | None = None,
) -> tuple[RankCounts, RankCounts]:
    """Return the rank counts of both directions.

    Equal to two calls of :func:`rank_counts` except for the last bits of the scores, at half
    the cost. The positives' scores must be known before a block is counted for both
    directions. So they are computed first, in float64, and written into the block: each pair
    has one score in both directions. Queries with several positives, or with an embedding
    that occurs more than once, are ranked by :func:`rank_counts`.

    Args:
        images: float32 ``[N, D]``, array or tensor, on any device.
        reports: float32 ``[M, D]``; moved to the images' device.
        reports_of_image: For each image the indexes of its reports, as for
            :func:`rank_counts`.
        images_of_report: For each report the indexes of its images.
        block: Number of images and reports scored at once; by default chosen for the device.
        stream: Stream for the progress bar, shown if it is a terminal.

    Returns:
        The counts of images as queries, and of reports as queries, as NumPy arrays.

    Raises:
        ValueError: As for :func:`rank_counts`.

    Example:
        >>> to_report, to_image = rank_both(np.eye(3), np.eye(3), [0, 1, 2], [0, 1, 2])
        >>> to_report.greater.tolist(), to_image.greater.tolist()
        ([0, 0, 0], [0, 0, 0])
    """
    rows = as_matrix(images, "images")
    columns = as_matrix(reports, "reports").to(rows.device)
    if rows.shape[1] != columns.shape[1]:
        raise ValueError(
            f"images have shape {list(rows.shape)} and reports {list(columns.shape)}; both need"
            " the same number of columns"
        )
    with torch.inference_mode(), full_float32():
        one, other = distinct(rows), distinct(columns)
        to_report = _Queries.of(one, other, reports_of_image)
        to_image = _Queries.of(other, one, images_of_report)
        row = torch.cat([to_report.row, to_image.column])
        column = torch.cat([to_report.column, to_image.row])
        pair_scores = _PairScores.of(one, other, row, column)
        by_image = _Tally(one, to_report, pair_scores.scores(to_report.row, to_report.column))
        by_report = _Tally(other, to_image, pair_scores.scores(to_image.column, to_image.row))
        block = block or _block_for(rows.device)
        _count(one, other, pair_scores, (by_image, by_report), block, stream)
    return (
        to_report.counts(rows, columns, *by_image.counts()),
        to_image.counts(columns, rows, *by_report.counts()),
    )


@dataclass(frozen=True, slots=True)
class _Queries:
    """Queries of one direction, split into simple ones (counted in blocks) and the others.

    Attributes:
        flat: int64 ``[P]``, all positives in query order.
        offsets: int64 ``[Q + 1]``, the offset of each query's positives.
        simple: int64 ``[L]``, the queries with one positive and a unique embedding.
        row: int64 ``[L]``, the distinct row of each simple query.
        column: int64 ``[L]``, the distinct gallery row of its positive.
    """

    flat: Counts
    offsets: Counts
    simple: Counts
    row: Tensor
    column: Tensor

    @classmethod
    def of(cls, queries: Distinct, gallery: Distinct, positives: Positives) -> _Queries:
        flat, offsets = flatten(positives, len(queries.matrix), len(gallery.matrix))
        unique = (queries.copies[queries.of_item] == 1).cpu().numpy()
        simple = np.flatnonzero((np.diff(offsets) == 1) & unique)
        device = queries.of_item.device
        row = queries.of_item[torch.from_numpy(simple).to(device)]
        column = gallery.of_item[torch.from_numpy(flat[offsets[simple]]).to(device)]
        return cls(flat, offsets, simple, row, column)

    def _positives(self, query: int) -> Counts:
        return self.flat[self.offsets[query] : self.offsets[query + 1]]

    def counts(
        self,
        queries: Tensor,
        gallery: Tensor,
        greater: Counts,
        level: Counts,
    ) -> RankCounts:
        """Return the counts of all queries, given those of the simple ones, int64 ``[L]``."""
        sizes = np.diff(self.offsets)
        parts = {
            "greater": np.zeros(len(sizes), dtype=np.int64),
            "equal": np.zeros(len(sizes), dtype=np.int64),
            "tied": np.ones(len(sizes), dtype=np.int64),
            "pair_greater": np.zeros(len(self.flat), dtype=np.int64),
            "pair_equal": np.zeros(len(self.flat), dtype=np.int64),
        }
        pairs = self.offsets[self.simple]
        parts["greater"][self.simple] = parts["pair_greater"][pairs] = greater
        # The positive is level with itself.
        parts["equal"][self.simple] = parts["pair_equal"][pairs] = level - 1
        others = np.delete(np.arange(len(sizes)), self.simple)
        if others.size:
            rows = torch.from_numpy(others).to(queries.device)
            ranked = rank_counts(queries[rows], gallery, [self._positives(int(q)) for q in others])
            pairs = np.flatnonzero(np.repeat(np.isin(np.arange(len(sizes)), others), sizes))
            for name, values in parts.items():
                values[pairs if name.startswith("pair") else others] = getattr(ranked, name)
        return RankCounts(**parts, positives=sizes, gallery_size=len(gallery))


@dataclass(frozen=True, slots=True)
class _PairScores:
    """Scores of the pairs of distinct rows that are positives, each pair once.

    Attributes:
        number: int64 ``[n]``, ``row * width + column`` of each pair, ascending.
        score: float32 ``[n]``.
        width: Number of distinct columns.
    """

    number: Tensor
    score: Tensor
    width: int

    @classmethod
    def of(cls, one: Distinct, other: Distinct, row: Tensor, column: Tensor) -> _PairScores:
        number = torch.unique(row * len(other) + column)
        score = torch.empty(len(number), device=number.device)
        for start in range(0, len(number), CHUNK_ROWS):
            chunk = number[start : start + CHUNK_ROWS]
            ours = one.matrix[one.first[chunk // len(other)]].double()
            theirs = other.matrix[other.first[chunk % len(other)]].double()
            score[start : start + CHUNK_ROWS] = (ours * theirs).sum(1)
        return cls(number, score, len(other))

    def scores(self, row: Tensor, column: Tensor) -> Tensor:
        return self.score[torch.searchsorted(self.number, row * self.width + column)]

    def write_into(self, block: Tensor, top: int, left: int) -> None:
        """Write the pairs' scores into a block that starts at row ``top`` and column ``left``."""
        ends = torch.tensor([top, top + len(block)], device=block.device) * self.width
        first, last = torch.searchsorted(self.number, ends).tolist()
        row, column = self.number[first:last] // self.width, self.number[first:last] % self.width
        inside = (column >= left) & (column < left + block.shape[1])
        positions = row[inside] - top, column[inside] - left
        block[positions] = self.score[first:last][inside]


class _Tally:
    """Running counts of the items with a score above, and equal to, one value per row.

    Rows that are not simple queries are compared with inf, which no score reaches.
    """

    def __init__(self, rows: Distinct, queries: _Queries, scores: Tensor) -> None:
        device = scores.device
        self._rows = queries.row
        self._value = torch.full((len(rows),), torch.inf, device=device)
        self._value[queries.row] = scores
        self._above = torch.zeros(len(rows), dtype=torch.int64, device=device)
        self._level = torch.zeros(len(rows), dtype=torch.int64, device=device)

    def add(self, scores: Tensor, start: int, copies: Tensor, flags: Tensor) -> None:
        """Add the counts of a block of scores; each column counts once per copy.

        Args:
            scores: float32 ``[u, c]``, the block.
            start: The row of this tally that the block's first row belongs to.
            copies: float32 ``[c]``, number of gallery items per column.
            flags: float32 ``[u, c]``, working memory in the same layout as the block.
        """
        rows = slice(start, start + len(scores))
        value = self._value[rows, None]
        # Float sums of integers are exact here, and much faster than sums of booleans.
        self._above[rows] += (torch.gt(scores, value, out=flags) @ copies).long()
        self._level[rows] += (torch.eq(scores, value, out=flags) @ copies).long()

    def counts(self) -> tuple[Counts, Counts]:
        """Return the counts above and level of the simple queries, int64 ``[L]`` each."""
        above, level = self._above[self._rows], self._level[self._rows]
        return above.cpu().numpy(), level.cpu().numpy()


def _count(
    one: Distinct,
    other: Distinct,
    pair_scores: _PairScores,
    tallies: tuple[_Tally, _Tally],
    block: Block,
    stream: Stream | None,
) -> None:
    """Compute the scores block by block, and count each block for both directions."""
    height, width = min(block[0], len(one)), min(block[1], len(other))
    device = one.matrix.device
    scores_memory, flags_memory = (torch.empty(height * width, device=device) for _ in range(2))
    blocks = -(-len(one) // height) * -(-len(other) // width)
    with progress(blocks, "ranking", "blocks", stream) as advance:
        # The rows are read once per block of columns, the columns only once.
        whole = one.rows if one.matrix.nbytes <= MAX_COPY_BYTES else None
        for left, columns, of_columns in _parts(other, width):
            for top, rows, of_rows in _parts(one, height, whole):
                scores, flags = (
                    memory[: len(rows) * len(columns)].view(len(rows), len(columns))
                    for memory in (scores_memory, flags_memory)
                )
                torch.mm(rows, columns.T, out=scores)
                pair_scores.write_into(scores, top, left)
                tallies[0].add(scores, top, of_columns, flags)
                tallies[1].add(scores.T, left, of_rows, flags.T)
                advance(1)


def _parts(
    distinct_rows: Distinct, size: int, whole: Tensor | None = None
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield the distinct rows in parts: index of the first row, rows, and copies as floats."""
    for start in range(0, len(distinct_rows), size):
        part = slice(start, start + size)
        rows = distinct_rows.matrix[distinct_rows.first[part]] if whole is None else whole[part]
        yield start, rows, distinct_rows.copies[part].float()


def _block_for(device: torch.device) -> Block:
    if device.type != "cuda":
        return BLOCK
    # A score and its flag take 8 bytes.
    side = math.isqrt(score_bytes(device) // 8)
    return side, side
