"""Metrics by label agreement, by other means: every order of the ties, and scikit-learn's way."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np


def orders(scores):
    """Every order of the items that the scores allow, each as likely as the next."""
    levels = [np.flatnonzero(scores == value) for value in np.unique(scores)[::-1]]
    for chosen in product(*(list(permutations(level)) for level in levels)):
        yield [int(item) for level in chosen for item in level]


def expected_at_places(scores, gains, places):
    """The mean gain at each place over every order, float64; 0 beyond the gallery."""
    seen = [
        np.pad(gains[order][:places], (0, max(0, places - len(order)))) for order in orders(scores)
    ]
    return np.mean(seen, axis=0)


def precision(scores, right, k):
    """The mean over every order of the right items among the first k, over k."""
    return np.mean([sum(right[i] for i in order[:k]) / k for order in orders(scores)])


def dcg(gains, k):
    return sum(gain / np.log2(place + 1) for place, gain in enumerate(gains[:k], start=1))


def ndcg(scores, gains, k):
    """The mean over every order of the discounted gain, over that of the best order."""
    ideal = dcg(sorted(gains, reverse=True), k)
    return np.mean([dcg(gains[order], k) for order in orders(scores)]) / ideal


def ndcg_like_scikit_learn(gains, scores, k):
    """``sklearn.metrics.ndcg_score`` of one query, with its averaging of ties, restated.

    scikit-learn 1.6, sklearn/metrics/_ranking.py, _tie_averaged_dcg: the gains of a tie are
    averaged, and multiplied with the sum of the discounts of its places.
    """
    discount = 1 / np.log2(np.arange(len(gains)) + 2)
    discount[k:] = 0
    upto = np.cumsum(discount)

    def tie_averaged(by):
        _, level, sizes = np.unique(-by, return_inverse=True, return_counts=True)
        mean = np.bincount(level, gains) / sizes
        ends = upto[np.cumsum(sizes) - 1]
        return (mean * np.diff(ends, prepend=0)).sum()

    # The ideal is the same sum with the gains as scores: equal gains then tie, and cost nothing.
    return tie_averaged(scores) / tie_averaged(gains)


# --- collections ---------------------------------------------------------------------------


def agreement(one, other):
    """Whether two label sets are the same, and their Jaccard index, 1 where both are empty."""
    both = one | other
    return np.array([float(one == other), len(one & other) / len(both) if both else 1.0])


def gains_of(labels, text_of_image):
    """Both gains of each labelled image with each text that labelled images came with.

    Returns:
        The labelled images, those texts, and float64 ``[2, images, texts]``: means over the
        labelled images of a text.
    """
    known = [i for i, own in enumerate(labels) if own is not None]
    texts = sorted({int(text_of_image[i]) for i in known})
    gains = np.zeros((2, len(known), len(texts)))
    for row, image in enumerate(known):
        for column, text in enumerate(texts):
            mine = [i for i in known if text_of_image[i] == text]
            gains[:, row, column] = np.mean(
                [agreement(labels[image], labels[i]) for i in mine], axis=0
            )
    return known, texts, gains
