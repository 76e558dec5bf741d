"""Clinical relevance: how far what is retrieved has the findings that were asked for.

Two studies agree by their label sets. They have the same findings where the sets are
equal; how far they overlap is the Jaccard index, and 1 where neither has a finding. A
text that several images came with agrees as those images do on average, so that a set in
which a report repeats needs no choice between its images.

What has no labels takes no part: an image without them asks nothing and is not retrieved,
and neither is a text that came with such images alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustness.ranking import TILE_BYTES, Distinct
from robustness.topk import GRAIN, PlaceGains, expected_gains, highest_gains

Indexes = NDArray[np.int64]
Labels = Sequence[frozenset[str] | None]


@dataclass(frozen=True, slots=True)
class Profiles:
    """What label sets each item stands for, as parts: an image for one, a text for several.

    Attributes:
        item: int64 ``[P]``, the labelled item a part belongs to, counted from 0; rising.
        labels: int64 ``[P]``, the part's label set.
        count: int64 ``[P]``, how many of the item's images have that label set.
        place: int64 ``[n]``, where each labelled item stands among all items; rising.
    """

    item: Indexes
    labels: Indexes
    count: Indexes
    place: Indexes

    def __len__(self) -> int:
        """The number of labelled items."""
        return len(self.place)


@dataclass(frozen=True, slots=True)
class LabelSets:
    """The label sets of a collection, each once.

    Attributes:
        has: float32 ``[L, F]``, 1 where a set holds a label.
        of_image: int64 ``[N]``, the set of each image; -1 where an image has none.
    """

    has: Tensor
    of_image: Indexes

    @classmethod
    def of(cls, labels: Labels) -> LabelSets:
        """Collects the label sets of images; None is an image without labels."""
        index: dict[frozenset[str], int] = {}
        of_image = [-1 if own is None else index.setdefault(own, len(index)) for own in labels]
        column = {name: i for i, name in enumerate(sorted(frozenset().union(*index)))}
        has = torch.zeros(len(index), len(column))
        for own, row in index.items():
            has[row, [column[name] for name in own]] = 1
        return cls(has, np.array(of_image, dtype=np.int64))

    def __len__(self) -> int:
        """The number of distinct label sets."""
        return len(self.has)

    def profiles(self, item_of_image: Indexes) -> Profiles:
        """The parts of items that images belong to: of texts, or of the images themselves."""
        known = self.of_image >= 0
        pairs = np.stack([item_of_image[known], self.of_image[known]], axis=1)
        parts, count = np.unique(pairs, axis=0, return_counts=True)
        place, item = np.unique(parts[:, 0], return_inverse=True)
        return Profiles(item, parts[:, 1], count, place)

    def agreement(self, rows: Indexes) -> Tensor:
        """How far some label sets agree with all of them.

        ``{"edema", "fracture"}`` and ``{"edema"}`` are not the same (0) and overlap by 1/2.

        Args:
            rows: int64 ``[r]``, label sets.

        Returns:
            float64 ``[2, r, L]``, multiples of :data:`robustness.topk.GRAIN`: 1 where the sets
            are the same, and their Jaccard index.
        """
        # Products of zeros and ones are exact at any precision the caller's settings allow.
        shared = self.has[rows] @ self.has.T
        sizes = self.has.sum(1)
        union = sizes[rows][:, None] + sizes - shared
        overlap = torch.where(union > 0, shared.double() / union.clamp(min=1), 1.0)
        return torch.stack([(shared == union).double(), _grained(overlap)])


class LabelRanking:
    """Gains by label agreement of one direction of retrieval.

    Args:
        sets: The label sets of the collection.
        queries: The items that ask.
        gallery: The items that are retrieved.
        places: How many places of a ranking are looked at.
        device: Where gains are computed: CUDA, or the host for all other devices, some of
            which have no float64.
        tile_bytes: Size of one tile of gains.
    """

    def __init__(
        self,
        sets: LabelSets,
        queries: Profiles,
        gallery: Profiles,
        *,
        places: int,
        device: str = "cpu",
        tile_bytes: int = TILE_BYTES,
    ) -> None:
        self.device = torch.device(device if device.startswith("cuda") else "cpu")
        self.sets = LabelSets(sets.has.to(self.device), sets.of_image)
        self.queries = queries
        self.gallery = gallery
        self.places = places
        widest = max(len(sets), len(gallery.item), len(gallery))
        # Two kinds of gain, eight bytes each.
        self._rows = max(1, tile_bytes // (16 * widest))

    def watch(self) -> Watcher:
        """Something to hand to :func:`robustness.ranking.rank_counts` as its ``watch``."""
        return Watcher(self)

    def blocks(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Cuts a range of labelled queries so that the gains of each cut fit a tile."""
        for start in range(first, last, self._rows):
            yield start, min(start + self._rows, last)

    @cached_property
    def _all(self) -> Tensor | None:
        """All the gains, where they fit one tile: no occlusion changes them."""
        fits = len(self.queries) <= self._rows
        return self._computed(0, len(self.queries)) if fits else None

    def gains(self, first: int, last: int) -> Tensor:
        """The gains of the labelled gallery for some labelled queries.

        Args:
            first: The first query.
            last: The one after the last.

        Returns:
            float64 ``[2, last - first, n]``: same findings, and overlap.
        """
        return self._computed(first, last) if self._all is None else self._all[:, first:last]

    def _computed(self, first: int, last: int) -> Tensor:
        queries, gallery = self.queries, self.gallery
        parts = slice(*np.searchsorted(queries.item, [first, last]))
        rows = torch.zeros(2, last - first, len(self.sets), dtype=torch.float64).to(self.device)
        # A text of many images has many parts; they are added up a tile at a time.
        for start in range(parts.start, parts.stop, self._rows):
            some = slice(start, min(start + self._rows, parts.stop))
            agreement = self.sets.agreement(queries.labels[some])
            agreement *= self._tensor(queries.count[some])[:, None]
            rows.index_add_(1, self._tensor(queries.item[some] - first), agreement)
        asked = np.bincount(queries.item[parts] - first, queries.count[parts])
        rows = _grained(rows / self._tensor(asked)[:, None])
        columns = rows[:, :, self._tensor(gallery.labels)]
        if len(gallery.item) == len(gallery):
            return columns
        columns *= self._tensor(gallery.count)
        gains = rows.new_zeros(2, last - first, len(gallery))
        gains.index_add_(2, self._tensor(gallery.item), columns)
        return _grained(gains / self._tensor(np.bincount(gallery.item, gallery.count)))

    @cached_property
    def ideal(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The highest overlaps of each query ``[n, K]``, and its mean gains ``[2, n]``."""
        best, mean = [], []
        for start, stop in self.blocks(0, len(self.queries)):
            gains = self.gains(start, stop)
            best.append(highest_gains(gains[1], self.places))
            mean.append(gains.sum(2) / len(self.gallery))
        return torch.cat(best).cpu().numpy(), torch.cat(mean, dim=1).cpu().numpy()

    def _tensor(self, values: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)


def label_rankings(
    labels: Labels, text_of_image: Indexes, *, places: int, device: str
) -> dict[str, LabelRanking]:
    """Gains by label agreement, by direction.

    Args:
        labels: The label set of each of the N images, None where it has none.
        text_of_image: int64 ``[N]``, the text each image came with.
        places: How many places of a ranking are looked at.
        device: The device scores are computed on.

    Returns:
        Nothing where there are fewer than two different label sets: all that is retrieved
        would be equally right, and every model perfect.
    """
    sets = LabelSets.of(labels)
    if len(sets) < 2:  # noqa: PLR2004
        return {}
    images = sets.profiles(np.arange(len(labels)))
    texts = sets.profiles(text_of_image)
    return {
        "image_to_report": LabelRanking(sets, images, texts, places=places, device=device),
        "report_to_image": LabelRanking(sets, texts, images, places=places, device=device),
    }


class Watcher:
    """Takes down the gains at the first places while a ranking is made, tile by tile."""

    def __init__(self, ranking: LabelRanking) -> None:
        self._ranking = ranking
        self._tiles: list[Tensor] = []

    def __call__(self, start: int, scores: Tensor, columns: Distinct) -> None:
        """Sees one tile: scores ``[q, U]`` of queries from ``start`` on with distinct rows."""
        ranking = self._ranking
        place = ranking.queries.place
        first, last = np.searchsorted(place, [start, start + len(scores)])
        # Equal gallery rows share a column, and so a score to the last bit.
        items = columns.of_item[torch.from_numpy(ranking.gallery.place).to(scores.device)]
        for begin, end in ranking.blocks(int(first), int(last)):
            rows = torch.from_numpy(place[begin:end] - start).to(scores.device)
            mine = scores.index_select(0, rows).index_select(1, items).to(ranking.device)
            self._tiles.append(
                expected_gains(mine, ranking.gains(begin, end), ranking.places).cpu()
            )

    def gains(self) -> PlaceGains:
        """What was seen, of the labelled queries in their order."""
        same, overlap = torch.cat(self._tiles, dim=1).numpy()
        best, mean = self._ranking.ideal
        return PlaceGains(same, overlap, best, mean[0], mean[1], len(self._ranking.gallery))


def _grained(gains: Tensor) -> Tensor:
    """Gains to the nearest multiple of :data:`robustness.topk.GRAIN`."""
    return gains.div_(GRAIN).round_().mul_(GRAIN)
