"""Free-text reports of findings, as incomplete and as varied as dictated reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from robustness.evalset._base import Report
from robustness.evalset.phantom import _phrases
from robustness.evalset.phantom._findings import Findings, Sided

MENTION = 0.835
"""Probability that a finding is mentioned; radiologists omit some."""

MENTION_ABSENT = 0.32
"""Probability that an absent finding is negated explicitly."""

MENTION_VIEW = 0.5
"""Probability that the findings begin with the projection."""

_ONE_SIDED = (
    "rotation", "elevated", "fracture", "scoliosis", "emphysema", "pacemaker", "line", "drain",
)  # fmt: skip
_WITHOUT_SIDE = ("many_nodules", "aorta", "hernia", "endotracheal_tube", "gastric_tube", "wires")

_INDICATED = 0.8
_NUMBERED = 0.4
_UNSPECIFIC = 0.12
_MAX_IMPRESSION_ITEMS = 3

T = TypeVar("T")


class Statement(NamedTuple):
    """One statement: the name of its phrases and the values of their fields."""

    name: str
    size: str = ""
    adverb: str = ""
    side: str = ""
    zone: str = ""


def dictate(findings: Findings, rng: np.random.Generator) -> Report:
    """Generate the report of a study.

    Every statement is true: a finding may be omitted, but no present finding is negated and no
    absent finding is stated.
    """
    indication = _choose(rng, _phrases.INDICATIONS) if rng.random() < _INDICATED else ""
    if findings.macro:
        body, impression = _choose(rng, _phrases.MACROS)
        return Report(indication=indication, findings=body, impression=impression)
    mentioned = [statement for statement in _statements(findings, rng) if rng.random() < MENTION]
    sentences = [_phrase(rng, statement) for statement in mentioned]
    sentences += [
        _choose(rng, _phrases.WORDINGS[name].absent)
        for name in _absent(findings)
        if rng.random() < MENTION_ABSENT
    ]
    rng.shuffle(sentences)
    if rng.random() < MENTION_VIEW or not sentences:
        sentences.insert(0, _phrase(rng, Statement(findings.view)))
    return Report(
        indication=indication,
        findings=" ".join(_sentence(text) for text in sentences),
        impression=_impression(rng, mentioned),
    )


def _impression(rng: np.random.Generator, mentioned: Sequence[Statement]) -> str:
    short_forms = [
        _fill(_choose(rng, forms), statement)
        for statement in mentioned
        if (forms := _phrases.WORDINGS[statement.name].impression)
    ]
    if not short_forms:
        return _sentence(_choose(rng, _phrases.NOTHING_ACUTE))
    if rng.random() < _UNSPECIFIC:
        return _sentence(_choose(rng, _phrases.UNSPECIFIC))
    rng.shuffle(short_forms)
    items = [_sentence(text) for text in short_forms[:_MAX_IMPRESSION_ITEMS]]
    if rng.random() < _NUMBERED:
        items = [f"{number}. {text}" for number, text in enumerate(items, start=1)]
    return " ".join(items)


def _statements(findings: Findings, rng: np.random.Generator) -> Iterator[Statement]:
    """Yield a statement for each finding that is present."""
    f = findings
    if f.heart:
        adverb, size = _phrases.HEART_SIZES[f.heart - 1]
        yield Statement("heart", size=size, adverb=adverb)
    if f.oedema:
        yield Statement("oedema", size=_phrases.OEDEMA_SIZES[f.oedema - 1])
    yield from _sided("effusion", f.effusion, _phrases.EFFUSION_SIZES)
    for side in f.pneumothorax.sides:
        size = _phrases.PNEUMOTHORAX_SIZES[f.pneumothorax.on(side) - 1]
        yield Statement("pneumothorax", size=size, side=side)
    yield from _sided("atelectasis", f.atelectasis, ("",))
    yield from _sided("hilum", f.hilum, ("",))
    places = [("consolidation", place) for place in f.consolidations]
    places += [("mass", f.mass)] if f.mass else []
    places += [("nodule", f.nodule)] if f.nodule else []
    for name, place in places:
        zone = _choose(rng, _phrases.ZONES[place.zone])
        yield Statement(name, side=place.side, zone=zone)
    if f.volume != "normal":
        yield Statement(f"{f.volume}_volume")
    for name in _ONE_SIDED:
        side = getattr(f, name)
        if side:
            yield Statement(name, side=side)
    for name in _WITHOUT_SIDE:
        if getattr(f, name):
            yield Statement(name)


def _sided(name: str, grades: Sided, sizes: Sequence[str]) -> Iterator[Statement]:
    if grades.right and grades.right == grades.left:
        yield Statement(f"bilateral_{name}", size=sizes[grades.right - 1])
        return
    for side in grades.sides:
        yield Statement(name, size=sizes[grades.on(side) - 1], side=side)


def _absent(findings: Findings) -> Iterator[str]:
    """Yield the names of absent findings that reports usually negate."""
    f = findings
    for name in ("heart", "oedema", "mass", "fracture", "aorta"):
        if not getattr(f, name):
            yield name
    for name in ("effusion", "pneumothorax", "atelectasis", "hilum"):
        if not getattr(f, name).sides:
            yield name
    if not f.consolidations and f.mass is None:
        yield "consolidation"
    if f.nodule is None and not f.many_nodules:
        yield "nodule"


def _choose(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def _phrase(rng: np.random.Generator, statement: Statement) -> str:
    return _fill(_choose(rng, _phrases.WORDINGS[statement.name].findings), statement)


def _fill(template: str, statement: Statement) -> str:
    return template.format_map(statement._asdict())


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
