"""Results of ranx on a fixed problem without ties; computed once, since ranx requires numba.

Generated with ranx 0.3.21 by ``pip install ranx && python tests/support/ranx_values.py``.
"""

from __future__ import annotations

import numpy as np

QUERIES, GALLERY = 60, 40

VALUES = {
    "mrr": 0.6031485264754843,
    "hit_rate@1": 0.5166666666666667,
    "hit_rate@5": 0.65,
    "hit_rate@10": 0.8166666666666667,
    "recall@1": 0.2238888888888889,
    "recall@5": 0.3336111111111111,
    "recall@10": 0.49611111111111117,
    "precision@1": 0.5166666666666667,
    "precision@5": 0.18999999999999997,
    "precision@10": 0.14,
    "ndcg@1": 0.2125,
    "ndcg@5": 0.26467784293398894,
    "ndcg@10": 0.2999630730849423,
}
"""Means over the queries, as the command above prints them."""


def problem():
    """Return scores, positives and gains, from raw bits that do not depend on numpy's version.

    Returns:
        float32 ``[Q, G]``, without ties in a row; the positives of each query, one to five;
        int64 ``[Q, G]``, 0 to 4.
    """
    bits = np.random.Philox(key=5).random_raw((3, QUERIES, GALLERY))
    scores = bits[0].argsort(axis=1).astype(np.float32)
    positives = [row.argsort()[: 1 + q % 5].tolist() for q, row in enumerate(bits[1])]
    for row, items in zip(scores, positives, strict=True):
        row[items] += 10.5
    # Two of five items have no gain.
    gains = np.maximum(bits[2] % 10, 5).astype(np.int64) - 5
    return scores, positives, gains


def by_ranx():
    """Return ranx's metrics by name, means over the queries."""
    from ranx import Qrels, Run, evaluate

    scores, positives, gains = problem()
    run = Run(
        {f"q{q}": {f"d{i}": float(s) for i, s in enumerate(row)} for q, row in enumerate(scores)}
    )
    same = Qrels({f"q{q}": {f"d{i}": 1 for i in items} for q, items in enumerate(positives)})
    graded = Qrels(
        {f"q{q}": {f"d{i}": int(g) for i, g in enumerate(row) if g} for q, row in enumerate(gains)}
    )
    names = [
        "mrr",
        *(f"{name}@{k}" for name in ("hit_rate", "recall", "precision") for k in (1, 5, 10)),
    ]
    values = evaluate(same, run, names)
    values |= evaluate(graded, run, [f"ndcg@{k}" for k in (1, 5, 10)])
    return {name: float(value) for name, value in values.items()}


if __name__ == "__main__":
    for name, value in by_ranx().items():
        print(f'    "{name}": {value!r},')  # noqa: T201
