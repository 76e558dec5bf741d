"""Decoding once: the images of a set pass through the store, in chunks."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import numpy as np

from robustness.embedding._store import Arrays, Store
from robustness.evalset import EvaluationSet, Image, Pair

CHUNK = 128
"""Images an entry of the store."""

MEMORY = 512 * 2**20
"""Bytes of decoded images a process keeps; beyond that the oldest chunks are read again."""


def decode_once(evalset: EvaluationSet, store: Store) -> EvaluationSet:
    """The same set, decoding each image once for all the processes that share a store."""
    return replace(evalset, decode=_Decoder(evalset, store).decode)


class _Decoder:
    def __init__(self, evalset: EvaluationSet, store: Store) -> None:
        self._evalset = evalset
        self._store = store
        self._index = {pair.image_id: i for i, pair in enumerate(evalset.pairs)}
        self._chunks: OrderedDict[int, list[Image]] = OrderedDict()

    def decode(self, pair: Pair) -> Image:
        chunk, place = divmod(self._index[pair.image_id], CHUNK)
        if chunk not in self._chunks:
            self._chunks[chunk] = self._load(chunk)
            while len(self._chunks) > 1 and self._bytes() > MEMORY:
                self._chunks.popitem(last=False)
        return self._chunks[chunk][place]

    def _bytes(self) -> int:
        return sum(image.nbytes for images in self._chunks.values() for image in images)

    def _load(self, chunk: int) -> list[Image]:
        pairs = self._evalset.pairs[chunk * CHUNK : (chunk + 1) * CHUNK]
        key = {"of": "decoded", "images": [pair.digest for pair in pairs]}
        arrays = self._store.fetch(key, lambda: self._decode_all(pairs))
        ends = np.cumsum(arrays["shapes"].prod(axis=1))
        flat = np.split(arrays["pixels"], ends[:-1])
        return [image.reshape(shape) for image, shape in zip(flat, arrays["shapes"], strict=True)]

    def _decode_all(self, pairs: tuple[Pair, ...]) -> Arrays:
        images = [self._evalset.decode(pair) for pair in pairs]
        return {
            "pixels": np.concatenate([image.ravel() for image in images]),
            "shapes": np.array([image.shape for image in images], dtype=np.int64),
        }
