"""Detection of vacuous properties, which no model could fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from robustness import metrics
from robustness._util.text import counted
from robustness.metrics.rank_counts import Counts, RankCounts
from robustness.perturbation.occlusion import CLEAN
from robustness.perturbation.strategies import MIN_LEVEL
from robustness.plan import BOUND, CHANCE, INDEPENDENCE, NESTED
from robustness.thresholds import Properties

if TYPE_CHECKING:
    from robustness.run.subject import Subject


def vacuous_reason(
    subject: Subject, properties: Properties, name: str, subset: Sequence[int]
) -> str:
    """Return why no model could fail a property; empty if one could.

    Args:
        subject: The model on its evaluation set.
        properties: Settings of the search.
        name: A name of :data:`robustness.plan.PROPERTIES`.
        subset: Indexes of the query images.

    Raises:
        GateError: The clean images cannot be embedded.
    """
    causes = {BOUND: _bound, INDEPENDENCE: _independence, NESTED: _nested, CHANCE: _chance}
    return causes[name](subject, properties, subset)


def blind_upper_bound(text: Counts) -> dict[str, float]:
    """Return the highest expected hit@10 of a model that ignores the images, by direction.

    Args:
        text: int64 ``[n]``, the index of each image's text.

    Example:
        >>> blind_upper_bound(np.arange(20))
        {'image to report': 0.5, 'report to image': 0.5}
    """
    _, sizes = np.unique(text, return_counts=True)
    # The best blind answer to an image is the most frequent reports.
    constant = np.sort(sizes)[::-1][: metrics.PRIMARY_CUTOFF].sum() / len(text)
    none, pairs = np.zeros_like(sizes), np.zeros(len(text), np.int64)
    alike = metrics.chance_counts(RankCounts(none, none, none, sizes, pairs, pairs, len(text)))
    return {
        "image to report": float(constant),
        "report to image": metrics.hit_at(alike, metrics.PRIMARY_CUTOFF),
    }


def _bound(subject: Subject, properties: Properties, _subset: Sequence[int]) -> str:
    if properties.max_level < MIN_LEVEL:
        return (
            f"max_level is {properties.max_level:g} and levels are tried in whole percents, so"
            f" nothing would be hidden; it must be at least {MIN_LEVEL:g}"
        )
    return _constant_metric(subject, properties.bound.metric)


def _independence(subject: Subject, properties: Properties, subset: Sequence[int]) -> str:
    images, _ = subject.embeddings.images(CLEAN)
    spread = float(np.ptp(images[list(subset)], axis=0).max())
    if spread > properties.tolerance:
        return ""
    return (
        f"tolerance is {properties.tolerance:g}, and the embeddings of different images differ"
        f" by {spread:.2g} at most: a mix-up of images would not be noticed"
    )


def _nested(subject: Subject, properties: Properties, _subset: Sequence[int]) -> str:
    if properties.noise >= 1:
        return f"noise is {properties.noise:g}, and {metrics.PRIMARY_METRIC} cannot rise by more"
    return _constant_metric(subject, metrics.PRIMARY_METRIC)


def _chance(subject: Subject, properties: Properties, subset: Sequence[int]) -> str:
    highest = min(blind_upper_bound(subject.matching.text_of_image[list(subset)]).values())
    if highest + properties.noise < 1:
        return ""
    return (
        f"{metrics.PRIMARY_METRIC} on {counted(len(subset), 'image')} can be {highest:.3f} without"
        f" sight and {properties.noise:g} more is allowed (noise), so every result would pass;"
        " use a larger subset or less noise"
    )


def _constant_metric(subject: Subject, metric: str) -> str:
    """Return why a metric is constant, such as hit@10 with ten reports; empty if it is not."""
    gallery = len(subject.matching.texts)
    if int(metric.partition("@")[2] or 1) < gallery:
        return ""
    return (
        f"{metric} among {counted(gallery, 'report')} is the same for every model; use a larger set"
    )
