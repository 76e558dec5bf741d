"""Graded relevance by clinical labels.

Two studies are compared by their label sets. Binary relevance is equality of the sets; graded
relevance is their Jaccard index, 1 if both are empty. A text that belongs to several images
has the mean relevance of those images, so repeated reports need no choice of an image.

Unlabelled images are excluded as queries and from the gallery, and so are texts whose images
are all unlabelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustness.metrics.rank_counts import TopGains
from robustness.ranking import TILE_BYTES, Distinct
from robustness.ranking.tied_gains import GRAIN, expected_gains, ideal_gains

Indexes = NDArray[np.int64]
Labels = Sequence[frozenset[str] | None]

MIN_LABEL_SETS = 2
"""With fewer label sets every retrieved item is equally relevant and every model perfect."""


@dataclass(frozen=True, slots=True)
class ItemLabels:
    """Label sets of the labelled items, as P parts: one for an image, several for a text.

    Attributes:
        item: int64 ``[P]``, the labelled item of each part, from 0, ascending.
        labels: int64 ``[P]``, the label set of each part.
        count: int64 ``[P]``, number of the item's images with that label set.
        index: int64 ``[n]``, the position of each labelled item among all items, ascending.
    """

    item: Indexes
    labels: Indexes
    count: Indexes
    index: Indexes

    def __len__(self) -> int:
        """Return the number of labelled items."""
        return len(self.index)


@dataclass(frozen=True, slots=True)
class LabelSets:
    """The L distinct label sets of a collection.

    Attributes:
        membership: float32 ``[L, F]``, 1 if a set contains a label.
        of_image: int64 ``[N]``, the label set of each image; -1 for an unlabelled image.
    """

    membership: Tensor
    of_image: Indexes

    @classmethod
    def of(cls, labels: Labels) -> LabelSets:
        """Collect the label sets of images; None marks an unlabelled image."""
        index: dict[frozenset[str], int] = {}
        of_image = [-1 if own is None else index.setdefault(own, len(index)) for own in labels]
        column = {name: i for i, name in enumerate(sorted(frozenset().union(*index)))}
        membership = torch.zeros(len(index), len(column))
        for own, row in index.items():
            membership[row, [column[name] for name in own]] = 1
        return cls(membership, np.array(of_image, dtype=np.int64))

    def __len__(self) -> int:
        """Return the number of distinct label sets."""
        return len(self.membership)

    def of_items(self, item_of_image: Indexes) -> ItemLabels:
        """Return the label sets of the items that images belong to.

        Args:
            item_of_image: int64 ``[N]``, the text of each image, or the image itself.
        """
        labelled = self.of_image >= 0
        pairs = np.stack([item_of_image[labelled], self.of_image[labelled]], axis=1)
        parts, count = np.unique(pairs, axis=0, return_counts=True)
        index, item = np.unique(parts[:, 0], return_inverse=True)
        return ItemLabels(item, parts[:, 1], count, index)

    def agreement(self, rows: Indexes) -> Tensor:
        """Return the binary and graded relevance between some label sets and all of them.

        Args:
            rows: int64 ``[r]``, label sets.

        Returns:
            float64 ``[2, r, L]``, multiples of :data:`~robustness.ranking.tied_gains.GRAIN`:
            1 if the sets are equal, and their Jaccard index.

        Example:
            >>> sets = LabelSets.of([frozenset({"edema", "fracture"}), frozenset({"edema"})])
            >>> sets.agreement(np.array([0])).tolist()
            [[[1.0, 0.0]], [[1.0, 0.5]]]
        """
        # Products of zeros and ones are exact at any matmul precision the caller may have set.
        shared = self.membership[rows] @ self.membership.T
        sizes = self.membership.sum(1)
        union = sizes[rows][:, None] + sizes - shared
        jaccard = torch.where(union > 0, shared.double() / union.clamp(min=1), 1.0)
        return torch.stack([(shared == union).double(), _round_to_grain(jaccard)])


class LabelRanking:
    """Gains by label agreement of one retrieval direction.

    Args:
        sets: The label sets of the collection.
        queries: The label sets of the queries.
        gallery: The label sets of the gallery.
        depth: Number of ranks to evaluate.
        device: The device of the gains: CUDA, or the host for all other devices, some of
            which have no float64.
        tile_bytes: Size of one tile of gains.
    """

    def __init__(
        self,
        sets: LabelSets,
        queries: ItemLabels,
        gallery: ItemLabels,
        *,
        depth: int,
        device: str = "cpu",
        tile_bytes: int = TILE_BYTES,
    ) -> None:
        self.device = torch.device(device if device.startswith("cuda") else "cpu")
        self.sets = LabelSets(sets.membership.to(self.device), sets.of_image)
        self.queries = queries
        self.gallery = gallery
        self.depth = depth
        widest = max(len(sets), len(gallery.item), len(gallery))
        # Two kinds of gain, eight bytes each.
        self._rows = max(1, tile_bytes // (16 * widest))

    def collector(self) -> GainCollector:
        """Return an ``on_tile`` callback for :func:`robustness.ranking.rank_counts`."""
        return GainCollector(self)

    def blocks(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Yield ranges of labelled queries whose gains fit one tile."""
        for start in range(first, last, self._rows):
            yield start, min(start + self._rows, last)

    @cached_property
    def _all_gains(self) -> Tensor | None:
        """Gains of all queries if they fit one tile; perturbations do not change them."""
        fits = len(self.queries) <= self._rows
        return self._compute_gains(0, len(self.queries)) if fits else None

    def gains(self, first: int, last: int) -> Tensor:
        """Return the gains of the labelled gallery for a range of labelled queries.

        Args:
            first: The first query.
            last: One past the last query.

        Returns:
            float64 ``[2, last - first, n]``: binary and graded relevance.
        """
        if self._all_gains is None:
            return self._compute_gains(first, last)
        return self._all_gains[:, first:last]

    def _compute_gains(self, first: int, last: int) -> Tensor:
        queries, gallery = self.queries, self.gallery
        parts = slice(*np.searchsorted(queries.item, [first, last]))
        rows = torch.zeros(2, last - first, len(self.sets), dtype=torch.float64).to(self.device)
        # A text of many images has many parts; add them up one tile at a time.
        for start in range(parts.start, parts.stop, self._rows):
            chunk = slice(start, min(start + self._rows, parts.stop))
            agreement = self.sets.agreement(queries.labels[chunk])
            agreement *= self._tensor(queries.count[chunk])[:, None]
            rows.index_add_(1, self._tensor(queries.item[chunk] - first), agreement)
        images = np.bincount(queries.item[parts] - first, queries.count[parts])
        rows = _round_to_grain(rows / self._tensor(images)[:, None])
        columns = rows[:, :, self._tensor(gallery.labels)]
        if len(gallery.item) == len(gallery):
            return columns
        columns *= self._tensor(gallery.count)
        gains = rows.new_zeros(2, last - first, len(gallery))
        gains.index_add_(2, self._tensor(gallery.item), columns)
        return _round_to_grain(gains / self._tensor(np.bincount(gallery.item, gallery.count)))

    @cached_property
    def ideal(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ideal graded gains of each query ``[n, K]``, and its mean gains ``[2, n]``."""
        best, mean = [], []
        for start, stop in self.blocks(0, len(self.queries)):
            gains = self.gains(start, stop)
            best.append(ideal_gains(gains[1], self.depth))
            mean.append(gains.sum(2) / len(self.gallery))
        return torch.cat(best).cpu().numpy(), torch.cat(mean, dim=1).cpu().numpy()

    def _tensor(self, values: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)


def label_rankings(
    labels: Labels, text_of_image: Indexes, *, depth: int, device: str
) -> dict[str, LabelRanking]:
    """Return the gains by label agreement of both directions.

    Args:
        labels: The label set of each of the N images, None for an unlabelled image.
        text_of_image: int64 ``[N]``, the text of each image.
        depth: Number of ranks to evaluate.
        device: The device of the scores.

    Returns:
        By direction; empty if there are fewer than :data:`MIN_LABEL_SETS` label sets.

    Example:
        >>> one_label_set = [frozenset({"edema"}), frozenset({"edema"}), None]
        >>> label_rankings(one_label_set, np.arange(3), depth=10, device="cpu")
        {}
    """
    sets = LabelSets.of(labels)
    if len(sets) < MIN_LABEL_SETS:
        return {}
    images = sets.of_items(np.arange(len(labels)))
    texts = sets.of_items(text_of_image)
    return {
        "image_to_report": LabelRanking(sets, images, texts, depth=depth, device=device),
        "report_to_image": LabelRanking(sets, texts, images, depth=depth, device=device),
    }


class GainCollector:
    """Callback that collects the gains at the first ranks while a ranking is computed."""

    def __init__(self, ranking: LabelRanking) -> None:
        self._ranking = ranking
        self._tiles: list[Tensor] = []

    def __call__(self, start: int, scores: Tensor, columns: Distinct) -> None:
        """Collect the gains of one tile.

        Args:
            start: The index of the tile's first query.
            scores: float32 ``[q, U]``, of the queries with the distinct gallery rows.
            columns: The distinct gallery rows.
        """
        ranking = self._ranking
        index = ranking.queries.index
        first, last = np.searchsorted(index, [start, start + len(scores)])
        # Equal gallery rows share a column, and so have bitwise equal scores.
        items = columns.of_item[torch.from_numpy(ranking.gallery.index).to(scores.device)]
        for begin, end in ranking.blocks(int(first), int(last)):
            rows = torch.from_numpy(index[begin:end] - start).to(scores.device)
            labelled = scores.index_select(0, rows).index_select(1, items).to(ranking.device)
            self._tiles.append(
                expected_gains(labelled, ranking.gains(begin, end), ranking.depth).cpu()
            )

    def gains(self) -> TopGains:
        """Return the collected gains of the labelled queries, in their order."""
        binary, graded = torch.cat(self._tiles, dim=1).numpy()
        best, mean = self._ranking.ideal
        return TopGains(binary, graded, best, mean[0], mean[1], len(self._ranking.gallery))


def _round_to_grain(gains: Tensor) -> Tensor:
    """Round gains to multiples of :data:`~robustness.ranking.tied_gains.GRAIN`, in place."""
    return gains.div_(GRAIN).round_().mul_(GRAIN)
