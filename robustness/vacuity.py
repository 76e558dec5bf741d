"""Whether a property could be broken at all: what no model breaks was not examined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from robustness import metrics
from robustness.counts import Counts, RankCounts
from robustness.measure import CLEAN
from robustness.plan import BOUND, CHANCE, INDEPENDENCE, NESTED
from robustness.strategies import LEAST
from robustness.thresholds import Properties
from robustness.wording import counted

if TYPE_CHECKING:
    from robustness.measure import Subject


def vacuous_reason(
    subject: Subject, properties: Properties, name: str, chosen: Sequence[int]
) -> str:
    """Why no model, whatever it answers, would break a property; empty where one would.

    Args:
        subject: The model on its evaluation set.
        properties: How the property is searched.
        name: A name of :data:`robustness.plan.PROPERTIES`.
        chosen: The indexes of the images that the search asks.

    Raises:
        GateError: The clean images cannot be embedded.
    """
    causes = {BOUND: _bound, INDEPENDENCE: _independence, NESTED: _nested, CHANCE: _chance}
    return causes[name](subject, properties, chosen)


def blind_upper_bound(text: Counts) -> dict[str, float]:
    """The most that hit@10 can be without sight, by direction in words.

    Args:
        text: int64 ``[n]``, the text that each image came with.
    """
    _, sizes = np.unique(text, return_counts=True)
    # Of images, the best a blind model can do is to answer with the commonest reports.
    constant = np.sort(sizes)[::-1][: metrics.PRIMARY_CUTOFF].sum() / len(text)
    none, pairs = np.zeros_like(sizes), np.zeros(len(text), np.int64)
    alike = metrics.chance_counts(RankCounts(none, none, none, sizes, pairs, pairs, len(text)))
    return {
        "image to report": float(constant),
        "report to image": metrics.hit_at(alike, metrics.PRIMARY_CUTOFF),
    }


def _bound(subject: Subject, properties: Properties, _chosen: Sequence[int]) -> str:
    if properties.max_level < LEAST:
        return (
            f"max_level is {properties.max_level:g} and levels are tried by whole percents, so"
            f" that nothing would be hidden; it takes {LEAST:g}"
        )
    return _few(subject, properties.bound.metric)


def _independence(subject: Subject, properties: Properties, chosen: Sequence[int]) -> str:
    images, _ = subject.images(CLEAN)
    spread = float(np.ptp(images[list(chosen)], axis=0).max())
    if spread > properties.tolerance:
        return ""
    return (
        f"tolerance is {properties.tolerance:g}, and the embeddings of different images differ"
        f" by {spread:.2g} at most: one could be taken for another unseen"
    )


def _nested(subject: Subject, properties: Properties, _chosen: Sequence[int]) -> str:
    if properties.noise >= 1:
        return f"noise is {properties.noise:g}, and {metrics.PRIMARY_METRIC} cannot rise by more"
    return _few(subject, metrics.PRIMARY_METRIC)


def _chance(subject: Subject, properties: Properties, chosen: Sequence[int]) -> str:
    highest = min(blind_upper_bound(subject.matching.text_of_image[list(chosen)]).values())
    if highest + properties.noise < 1:
        return ""
    return (
        f"{metrics.PRIMARY_METRIC} on {counted(len(chosen), 'image')} can be {highest:.3f} without sight"
        f" and {properties.noise:g} more is allowed (noise), so that all answers may be right;"
        " take a larger subset, or less noise"
    )


def _few(subject: Subject, metric: str) -> str:
    """A metric that is the same whatever the model answers: hit@10 among ten reports is 1."""
    gallery = len(subject.matching.texts)
    if int(metric.partition("@")[2] or 1) < gallery:
        return ""
    return (
        f"{metric} among {counted(gallery, 'report')} is the same whatever the model answers; take"
        " a larger set"
    )
