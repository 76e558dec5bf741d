"""Ranking both directions at once: each score is computed once and counted for both."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from robustness.counts import Counts, RankCounts
from robustness.progress import Stream, progress
from robustness.ranking._inputs import (
    ROWS,
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
"""Images and reports of a block of scores."""

BLOCK: Block = (1024, 2048)
"""The block on a CPU: 8 MiB of scores, and as much again to count them, which caches hold."""

COPIED = 2**26
"""Bytes of images' embeddings that are put into order as a whole; of more, a block's at a time."""


def rank_both(
    images: ArrayLike | Tensor,
    reports: ArrayLike | Tensor,
    reports_of_image: Positives,
    images_of_report: Positives,
    *,
    block: Block | None = None,
    stream: Stream | None = None,
) -> tuple[RankCounts, RankCounts]:
    """Counts what stands above and level with the positives, in both directions.

    The counts are those of :func:`rank_counts` but for the last bits of scores, from half
    the products. To count a block for both directions, the positives' scores must be known
    before it is made; so they are computed apart, in float64, and put in their places in it:
    each pair has one score, wherever it is looked at. That needs the positives to be few.
    Queries with several positives, or with an embedding that others share too, are ranked
    by :func:`rank_counts`.

    Args:
        images: float32 ``[N, D]``, array or tensor, on any device.
        reports: float32 ``[M, D]``; they are moved to the images' device.
        reports_of_image: For each image the indexes of its reports, as for
            :func:`rank_counts`.
        images_of_report: For each report the indexes of its images.
        block: Images and reports scored at once; the default suits the device.
        stream: Where to show how far it is, if it is a terminal.

    Returns:
        The counts of images as queries, and of reports as queries; on the host.

    Raises:
        ValueError: As for :func:`rank_counts`.
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
        cells = _Cells.of(one, other, row, column)
        by_image = _Tally(one, to_report, cells.scores(to_report.row, to_report.column))
        by_report = _Tally(other, to_image, cells.scores(to_image.column, to_image.row))
        block = block or _block_for(rows.device)
        _count(one, other, cells, (by_image, by_report), block, stream)
    return (
        to_report.counts(rows, columns, *by_image.counts()),
        to_image.counts(columns, rows, *by_report.counts()),
    )


@dataclass(frozen=True, slots=True)
class _Queries:
    """One direction's queries, those apart that blocks can be counted for.

    Attributes:
        right: int64 ``[P]``, all the positives, query by query.
        offsets: int64 ``[Q + 1]``, where each query's begin.
        lone: int64 ``[L]``, the queries with one positive and an embedding of their own.
        row: int64 ``[L]``, the distinct row of each of these.
        column: int64 ``[L]``, the distinct row of the gallery that its positive has.
    """

    right: Counts
    offsets: Counts
    lone: Counts
    row: Tensor
    column: Tensor

    @classmethod
    def of(cls, queries: Distinct, gallery: Distinct, positives: Positives) -> _Queries:
        right, offsets = flatten(positives, len(queries.matrix), len(gallery.matrix))
        own = (queries.copies[queries.of_item] == 1).cpu().numpy()
        lone = np.flatnonzero((np.diff(offsets) == 1) & own)
        device = queries.of_item.device
        row = queries.of_item[torch.from_numpy(lone).to(device)]
        column = gallery.of_item[torch.from_numpy(right[offsets[lone]]).to(device)]
        return cls(right, offsets, lone, row, column)

    def _positives(self, query: int) -> Counts:
        return self.right[self.offsets[query] : self.offsets[query + 1]]

    def counts(
        self,
        queries: Tensor,
        gallery: Tensor,
        greater: Counts,
        level: Counts,
    ) -> RankCounts:
        """The counts of all the queries, given those of blocks, int64 ``[L]``."""
        sizes = np.diff(self.offsets)
        parts = {
            "greater": np.zeros(len(sizes), dtype=np.int64),
            "equal": np.zeros(len(sizes), dtype=np.int64),
            "tied": np.ones(len(sizes), dtype=np.int64),
            "pair_greater": np.zeros(len(self.right), dtype=np.int64),
            "pair_equal": np.zeros(len(self.right), dtype=np.int64),
        }
        pairs = self.offsets[self.lone]
        parts["greater"][self.lone] = parts["pair_greater"][pairs] = greater
        # Its positive is level with itself.
        parts["equal"][self.lone] = parts["pair_equal"][pairs] = level - 1
        others = np.delete(np.arange(len(sizes)), self.lone)
        if others.size:
            asked = torch.from_numpy(others).to(queries.device)
            found = rank_counts(queries[asked], gallery, [self._positives(int(q)) for q in others])
            pairs = np.flatnonzero(np.repeat(np.isin(np.arange(len(sizes)), others), sizes))
            for name, values in parts.items():
                values[pairs if name.startswith("pair") else others] = getattr(found, name)
        return RankCounts(**parts, positives=sizes, gallery_size=len(gallery))


@dataclass(frozen=True, slots=True)
class _Cells:
    """The scores of pairs of distinct rows, each pair once, in the order of their rows."""

    number: Tensor
    score: Tensor
    width: int

    @classmethod
    def of(cls, one: Distinct, other: Distinct, row: Tensor, column: Tensor) -> _Cells:
        number = torch.unique(row * len(other) + column)
        score = torch.empty(len(number), device=number.device)
        for start in range(0, len(number), ROWS):
            some = number[start : start + ROWS]
            ours = one.matrix[one.first[some // len(other)]].double()
            theirs = other.matrix[other.first[some % len(other)]].double()
            score[start : start + ROWS] = (ours * theirs).sum(1)
        return cls(number, score, len(other))

    def scores(self, row: Tensor, column: Tensor) -> Tensor:
        return self.score[torch.searchsorted(self.number, row * self.width + column)]

    def put(self, block: Tensor, top: int, left: int) -> None:
        """Puts the scores of its pairs into a block, whose first row and column are given."""
        ends = torch.tensor([top, top + len(block)], device=block.device) * self.width
        first, last = torch.searchsorted(self.number, ends).tolist()
        row, column = self.number[first:last] // self.width, self.number[first:last] % self.width
        inside = (column >= left) & (column < left + block.shape[1])
        places = row[inside] - top, column[inside] - left
        block[places] = self.score[first:last][inside]


class _Tally:
    """How many items score above, and exactly as, one value a row: float32 ``[U]``.

    A row without a value, one that asks nothing, is compared with what no score reaches.
    """

    def __init__(self, rows: Distinct, queries: _Queries, scores: Tensor) -> None:
        device = scores.device
        self._rows = queries.row
        self._value = torch.full((len(rows),), torch.inf, device=device)
        self._value[queries.row] = scores
        self._above = torch.zeros(len(rows), dtype=torch.int64, device=device)
        self._level = torch.zeros(len(rows), dtype=torch.int64, device=device)

    def add(self, scores: Tensor, start: int, copies: Tensor, flags: Tensor) -> None:
        """Counts a block of scores ``[u, c]``, each column as often as it has copies.

        Args:
            scores: The block; its rows are this tally's from ``start`` on.
            start: Its first row.
            copies: float32 ``[c]``.
            flags: Room for as many float32, in the same layout.
        """
        mine = slice(start, start + len(scores))
        value = self._value[mine, None]
        # Sums of whole numbers as floats are exact, and far quicker than sums of booleans.
        self._above[mine] += (torch.gt(scores, value, out=flags) @ copies).long()
        self._level[mine] += (torch.eq(scores, value, out=flags) @ copies).long()

    def counts(self) -> tuple[Counts, Counts]:
        """What is above and what is level, int64 ``[L]`` each, of the queries."""
        above, level = self._above[self._rows], self._level[self._rows]
        return above.cpu().numpy(), level.cpu().numpy()


def _count(
    one: Distinct,
    other: Distinct,
    cells: _Cells,
    tallies: tuple[_Tally, _Tally],
    block: Block,
    stream: Stream | None,
) -> None:
    """Makes the scores block by block, and counts each for both directions."""
    height, width = min(block[0], len(one)), min(block[1], len(other))
    device = one.matrix.device
    room, flags = (torch.empty(height * width, device=device) for _ in range(2))
    blocks = -(-len(one) // height) * -(-len(other) // width)
    with progress(blocks, "ranking", "blocks", stream) as advance:
        # Rows come up once for each block of columns, which come up once.
        whole = one.rows if one.matrix.nbytes <= COPIED else None
        for left, columns, of_columns in _parts(other, width):
            for top, rows, of_rows in _parts(one, height, whole):
                scores, spare = (
                    memory[: len(rows) * len(columns)].view(len(rows), len(columns))
                    for memory in (room, flags)
                )
                torch.mm(rows, columns.T, out=scores)
                cells.put(scores, top, left)
                tallies[0].add(scores, top, of_columns, spare)
                tallies[1].add(scores.T, left, of_rows, spare.T)
                advance(1)


def _parts(
    distinct_rows: Distinct, size: int, whole: Tensor | None = None
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """A matrix's distinct rows, some at a time: the first one's number, rows, and copies."""
    for start in range(0, len(distinct_rows), size):
        mine = slice(start, start + size)
        some = distinct_rows.matrix[distinct_rows.first[mine]] if whole is None else whole[mine]
        yield start, some, distinct_rows.copies[mine].float()


def _block_for(device: torch.device) -> Block:
    if device.type != "cuda":
        return BLOCK
    # A score and its flag are 8 bytes.
    side = math.isqrt(score_bytes(device) // 8)
    return side, side
