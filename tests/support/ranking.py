"""Shared by the tests of ranking."""

from __future__ import annotations

import numpy as np


def unit_rows(rng, n, d=16):
    rows = rng.standard_normal((n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def grid_rows(rng, n, d=8):
    """Return rows of small multiples of 1/4: products and sums are exact, so ties are real."""
    return (rng.integers(-2, 3, (n, d)) / 4).astype(np.float32)


def brute_force(queries, gallery, positives):
    """Count by definition, in float64, one query at a time."""
    greater, equal, tied = [], [], []
    for query, right in zip(queries.astype(np.float64), positives, strict=True):
        scores = gallery.astype(np.float64) @ query
        best = max(scores[i] for i in right)
        wrong = [i for i in range(len(gallery)) if i not in set(right)]
        greater.append(sum(scores[i] > best for i in wrong))
        equal.append(sum(scores[i] == best for i in wrong))
        tied.append(sum(scores[i] == best for i in right))
    return greater, equal, tied
