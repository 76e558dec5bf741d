"""Search for an occlusion that breaks a property of a model (Hypothesis)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings, target
from hypothesis.errors import Flaky
from numpy.typing import NDArray

from robustness import metrics
from robustness._util.progress import progress
from robustness._util.text import counted
from robustness.embedding import embed_images
from robustness.errors import GateError
from robustness.metrics.rank_counts import RankCounts
from robustness.perturbation.occlusion import SCHEMA, Occlusion
from robustness.perturbation.strategies import MIN_LEVEL, occlusions
from robustness.plan import BOUND, CHANCE, INDEPENDENCE, NESTED
from robustness.records import PropertyRecord
from robustness.records.codec import number
from robustness.run.store_audit import cached_check, check_store
from robustness.run.vacuity import blind_upper_bound, vacuous_reason
from robustness.thresholds import Properties
from robustness.verdict.judge import judge_failure
from robustness.verdict.reasons import PASSED, Judgement, Reason, Verdict

if TYPE_CHECKING:
    from robustness.run.gate import Gate
    from robustness.run.subject import Subject

N_ISOLATED = 6
"""Number of images that are embedded alone and in a batch."""


class _BrokenError(Exception):
    """Violation of a property; the message gives its size."""

    def __init__(self, message: str, reason: Reason = Reason.PROPERTY_BROKEN) -> None:
        super().__init__(message)
        self.judgement = Judgement(Verdict.FAIL, reason, message)


Check = Callable[["Subject", Properties, Occlusion], float]
"""Returns the distance to a violation, at least 0; raises _BrokenError if there is one."""


def search(gate: Gate, model: str, name: str) -> PropertyRecord:
    """Search for an occlusion that breaks a property of a model.

    The plan's seed makes the search reproducible. An occlusion that breaks the property is
    shrunk to the simplest that still does.

    Args:
        gate: The run.
        model: The model's name.
        name: A name of :data:`robustness.plan.PROPERTIES`.

    Returns:
        The record, with the occlusion that breaks the property, if any.
    """
    try:
        subject = gate.subject(model)
        properties = gate.plan.thresholds.properties
        subset = _subset(subject, properties)
        finding, why = _Finding(), ""
        if name != INDEPENDENCE:
            why = vacuous_reason(subject, properties, name, subset)
        if not why:
            total = 1 if gate.plan.replay is not None else properties.examples
            label = f"searching {model} {name}"
            with progress(total, label, "occlusions", gate.stream) as advance:
                finding = _search(gate, subject, _SEARCHES[name], advance)
        if name == INDEPENDENCE and finding.broken is None:
            check_store(subject, subset[:N_ISOLATED], properties.tolerance, _measured(gate, model))
            why = vacuous_reason(subject, properties, name, subset)
        if why:
            finding.judgement = Judgement(Verdict.FAIL, Reason.PROPERTY_VACUOUS, why)
    except GateError as error:
        failure = judge_failure(error, optional=gate.plan.models[model].optional)
        return PropertyRecord(*astuple(failure), model=model, property=name)
    return PropertyRecord(
        *astuple(finding.judgement),
        model=model,
        property=name,
        occlusion=None if finding.broken is None else str(finding.broken),
        examples=finding.examples,
        room=number(finding.room),
    )


@dataclass(slots=True)
class _Finding:
    examples: int = 0
    room: float = float("inf")
    broken: Occlusion | None = None
    judgement: Judgement = PASSED
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class _Search:
    check: Check
    levels: Callable[[Properties], tuple[float, float]]


def _search(
    gate: Gate, subject: Subject, search: _Search, advance: Callable[[int], object]
) -> _Finding:
    thresholds = gate.plan.thresholds
    properties = thresholds.properties
    finding = _Finding()

    def attempt(occlusion: Occlusion) -> float:
        finding.examples += 1
        try:
            room = search.check(subject, properties, occlusion)
        except _BrokenError as error:
            finding.broken, finding.judgement = occlusion, error.judgement
            raise
        except BaseException as error:
            finding.error = finding.error or error
            raise
        if finding.broken is None:
            # Shrinking has no known length, so it does not count.
            advance(1)
        finding.room = min(finding.room, room)
        return room

    strategy = occlusions(
        patterns=thresholds.patterns, fills=thresholds.fills, levels=search.levels(properties)
    )

    @seed(thresholds.seed)
    @settings(
        max_examples=properties.examples,
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.target, Phase.shrink),
    )
    @given(strategy)
    def examples(occlusion: Occlusion) -> None:
        target(-attempt(occlusion))

    # The last failure is the shrunk one. Flaky means that a failure did not repeat.
    with suppress(_BrokenError, Flaky):
        if gate.plan.replay is not None:
            attempt(gate.plan.replay)
        else:
            examples()
    if finding.error is not None and finding.broken is None:
        # Hypothesis reports an error that is not raised again as flaky, and hides it.
        raise finding.error
    return finding


def _measured(gate: Gate, model: str) -> list[Occlusion]:
    """Return the distinct occlusions of a model's cases, without the clean images."""
    cases = [case for case in gate.plan.cases if case.model == model and case.level > 0]
    keys = (key for case in cases for key in gate.plan.measurements(case))
    return list(dict.fromkeys(map(gate.occlusion, keys)))


def _subset(subject: Subject, properties: Properties) -> list[int]:
    """Return the indices of images spread evenly over the set."""
    n = len(subject.evalset)
    size = min(n, properties.subset)
    return [i * n // size for i in range(size)]


def _check_bound(subject: Subject, properties: Properties, occlusion: Occlusion) -> float:
    bound = properties.bound
    counts = subject.rank_subset(occlusion, _subset(subject, properties))
    value = (
        metrics.median_rank(counts)
        if bound.metric == "median_rank"
        else float(metrics.per_query(counts)[bound.metric].mean())
    )
    room = bound.margin(value)
    if not room >= 0:
        raise _BrokenError(
            f"{bound.metric} on {counted(len(counts), 'image')} is {value:.3f}, bound"
            f" {'>=' if bound.at_least else '<='} {bound.limit:g} (line {bound.line}), missed by"
            f" {-room:.3f}"
        )
    return room


def _check_independence(subject: Subject, properties: Properties, occlusion: Occlusion) -> float:
    inputs = {
        "of": "batch",
        "occlusion": [SCHEMA, str(occlusion)],
        "evalset": subject.evalset.fingerprint,
        "subset": properties.subset,
    }
    stored = cached_check(subject, inputs, lambda: _batch_distances(subject, properties, occlusion))
    distance, nearest = float(stored["apart"][0]), float(stored["nearest"][0])
    if not distance <= properties.tolerance and nearest <= properties.tolerance:
        raise _BrokenError(
            "the embeddings of a batch are in another order than its images: each image embedded"
            f" alone matches another image of the batch, within {properties.tolerance:g}",
            Reason.EMBEDDINGS_MISORDERED,
        )
    if not distance <= properties.tolerance:
        raise _BrokenError(
            f"an image's embedding changes by {distance:.2g} with the batch around it; at most"
            f" {properties.tolerance:g} is allowed"
        )
    return properties.tolerance - distance


def _batch_distances(
    subject: Subject, properties: Properties, occlusion: Occlusion
) -> dict[str, NDArray[np.float64]]:
    """Return the largest distance between embeddings alone and in a batch, and to the nearest."""
    pairs = [subject.evalset.pairs[i] for i in _subset(subject, properties)[:N_ISOLATED]]
    images = [subject.evalset.decode(pair) for pair in pairs]
    hidden = [
        occlusion.apply(image, pair.image_id) for pair, image in zip(pairs, images, strict=True)
    ]
    alone = np.concatenate([embed_images(subject.encoder, [image]) for image in hidden])
    # The batch has other images before and after, and the reverse order.
    batch = embed_images(subject.encoder, [*images, *hidden[::-1], *images[:1]])
    together = batch[len(images) : 2 * len(images)][::-1]
    # Infinite embeddings give NaN, which is never within the tolerance.
    with np.errstate(invalid="ignore"):
        distance = np.abs(alone - together).max()
        nearest = np.abs(alone[:, None] - batch[None]).max(axis=2).min(axis=1).max()
    return {"apart": np.array([distance], float), "nearest": np.array([nearest], float)}


def _check_nested(subject: Subject, properties: Properties, occlusion: Occlusion) -> float:
    subset = _subset(subject, properties)
    less = replace(occlusion, level=occlusion.level / 2)
    low, high = (
        metrics.hit_at(subject.rank_subset(o, subset), metrics.PRIMARY_CUTOFF)
        for o in (less, occlusion)
    )
    room = low + properties.noise - high
    if not room >= 0:
        raise _BrokenError(
            f"{metrics.PRIMARY_METRIC} on {counted(len(subset), 'image')} is {high:.3f} at level"
            f" {occlusion.level:g} and only {low:.3f} at level {less.level:g}, which hides a part"
            f" of the same pixels; at most {properties.noise:g} more is allowed"
        )
    return room


def _check_chance(subject: Subject, properties: Properties, occlusion: Occlusion) -> float:
    subset = _subset(subject, properties)
    blind = replace(occlusion, level=1.0)
    to_report = subject.rank_subset(blind, subset)
    images, _ = subject.embeddings.images(blind, subset)
    to_image = _to_subset(subject, images, subset)
    highest = blind_upper_bound(subject.matching.text_of_image[subset])
    room = float("inf")
    for (direction, high), counts in zip(highest.items(), (to_report, to_image), strict=True):
        value = metrics.hit_at(counts, metrics.PRIMARY_CUTOFF)
        # A blind model may prefer wrong reports, but has no reason to prefer an image.
        low = 0.0 if counts is to_report else high
        room = min(room, properties.noise - max(low - value, value - high))
        if not room >= 0:
            raise _BrokenError(
                f"{direction}, every pixel hidden, {metrics.PRIMARY_METRIC} on"
                f" {counted(len(subset), 'image')} is"
                f" {value:.3f}; without sight it is at most {high:.3f}, and {properties.noise:g}"
                " more is allowed"
            )
    return room


def _to_subset(subject: Subject, images: np.ndarray, subset: list[int]) -> RankCounts:
    """Return the rank counts of the subset's reports as queries, with its images as gallery."""
    text = subject.matching.text_of_image[subset]
    queries = np.unique(text)
    positives = [np.flatnonzero(text == query) for query in queries]
    return subject.rank_images(subject.embeddings.reports[queries], images, positives)


_SEARCHES = {
    # Hypothesis starts with the simplest example, and level 0 would hide nothing.
    BOUND: _Search(_check_bound, lambda p: (MIN_LEVEL, p.max_level)),
    INDEPENDENCE: _Search(_check_independence, lambda _: (MIN_LEVEL, 1.0)),
    NESTED: _Search(_check_nested, lambda _: (MIN_LEVEL, 1.0)),
    CHANCE: _Search(_check_chance, lambda _: (1.0, 1.0)),
}
