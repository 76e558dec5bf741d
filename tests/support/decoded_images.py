"""Synthetic evaluation set that counts its decodes."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np

from robustness.errors import EvaluationSetError
from robustness.evalset import EvaluationSet, Pair, Report


def pixels(number):
    """Return the image of a number; sizes differ."""
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (8 + number % 5, 6 + number % 7), np.uint8)


def make_pair(number, *, digest=None, prefix="image"):
    name = f"{prefix}-{number}"
    return Pair(name, name, name, "PA", Report(findings="Clear."), digest or f"digest-{number}")


class Source:
    """Synthetic set that counts the decodes of each image."""

    def __init__(self, n, **settings):
        self.pairs = tuple(make_pair(number, **settings) for number in range(n))
        self.decoded = Counter()
        self.broken = set()
        self.threads = set()

    def decode(self, pair):
        number = int(pair.image_id.rpartition("-")[2])
        self.decoded[number] += 1
        self.threads.add(threading.get_ident())
        if number in self.broken:
            raise EvaluationSetError(f"image {pair.image_id} cannot be decoded")
        return pixels(number)

    def set(self):
        return EvaluationSet("manifest:my set.csv", self.pairs, self.decode)


def files(root, suffix="images"):
    return sorted(root.rglob(f"*.{suffix}"))


def holds_all(evalset):
    return all(
        (evalset.decode(p) == pixels(int(p.image_id.rpartition("-")[2]))).all()
        for p in evalset.pairs
    )
