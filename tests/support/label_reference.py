"""Reference label metrics: enumeration of all tie-breaks, and scikit-learn's formula."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np


def orders(scores):
    """Yield every order of the items that the scores allow, equally likely."""
    levels = [np.flatnonzero(scores == value) for value in np.unique(scores)[::-1]]
    for chosen in product(*(list(permutations(level)) for level in levels)):
        yield [int(item) for level in chosen for item in level]


def expected_at_ranks(scores, gains, depth):
    """Return the mean gain at each rank over all orders, float64; 0 beyond the gallery."""
    by_order = [
        np.pad(gains[order][:depth], (0, max(0, depth - len(order)))) for order in orders(scores)
    ]
    return np.mean(by_order, axis=0)


def precision(scores, relevant, k):
    """Return the mean over all orders of the relevant items among the first k, over k."""
    return np.mean([sum(relevant[i] for i in order[:k]) / k for order in orders(scores)])


def dcg(gains, k):
    return sum(gain / np.log2(rank + 1) for rank, gain in enumerate(gains[:k], start=1))


def ndcg(scores, gains, k):
    """Return the mean over all orders of the discounted gain, over that of the best order."""
    ideal = dcg(sorted(gains, reverse=True), k)
    return np.mean([dcg(gains[order], k) for order in orders(scores)]) / ideal


def ndcg_like_scikit_learn(gains, scores, k):
    """Restate ``sklearn.metrics.ndcg_score`` of one query, with its averaging of ties.

    scikit-learn 1.6, sklearn/metrics/_ranking.py, _tie_averaged_dcg: the gains of a tie are
    averaged and multiplied by the sum of the discounts of its ranks.
    """
    discount = 1 / np.log2(np.arange(len(gains)) + 2)
    discount[k:] = 0
    cumulative = np.cumsum(discount)

    def tie_averaged(by):
        _, level, sizes = np.unique(-by, return_inverse=True, return_counts=True)
        mean = np.bincount(level, gains) / sizes
        ends = cumulative[np.cumsum(sizes) - 1]
        return (mean * np.diff(ends, prepend=0)).sum()

    # The ideal is the same sum with the gains as scores; ties of equal gains change nothing.
    return tie_averaged(scores) / tie_averaged(gains)


# --- collections ---------------------------------------------------------------------------


def agreement(one, other):
    """Return the equality of two label sets and their Jaccard index, 1 if both are empty."""
    both = one | other
    return np.array([float(one == other), len(one & other) / len(both) if both else 1.0])


def gains_of(labels, text_of_image):
    """Return both gains of each labelled image with each text of labelled images.

    Returns:
        The labelled images, those texts, and float64 ``[2, images, texts]``: means over the
        labelled images of a text.
    """
    labelled = [i for i, own in enumerate(labels) if own is not None]
    texts = sorted({int(text_of_image[i]) for i in labelled})
    gains = np.zeros((2, len(labelled), len(texts)))
    for row, image in enumerate(labelled):
        for column, text in enumerate(texts):
            images = [i for i in labelled if text_of_image[i] == text]
            gains[:, row, column] = np.mean(
                [agreement(labels[image], labels[i]) for i in images], axis=0
            )
    return labelled, texts, gains
