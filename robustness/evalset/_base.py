"""Values shared by all evaluation sets: reports, pairs and the set itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import chain
from typing import Any, Protocol

from numpy.typing import NDArray

from robustness.errors import Code, EvaluationSetError
from robustness.evalset.images import Image


class Remember(Protocol):
    """A cache of arrays, by a key that covers everything they depend on."""

    def __call__(
        self, key: Mapping[str, Any], compute: Callable[[], dict[str, NDArray[Any]]], /
    ) -> dict[str, NDArray[Any]]:
        """Return the arrays of a key; compute them if they are not cached."""
        ...


def forget(
    _key: Mapping[str, Any], compute: Callable[[], dict[str, NDArray[Any]]], /
) -> dict[str, NDArray[Any]]:
    """Compute the arrays without caching them."""
    return compute()


@dataclass(frozen=True, slots=True)
class Report:
    """A radiology report by section; a missing section is empty.

    Attributes:
        indication: The reason for the examination.
        comparison: The earlier images used for comparison.
        findings: The observations.
        impression: The conclusion.
        undivided: The text of a report without sections. It is used, once, if findings or
            impression are requested and the report has neither.
    """

    indication: str = ""
    comparison: str = ""
    findings: str = ""
    impression: str = ""
    undivided: str = ""

    def text(self, sections: Iterable[str]) -> str:
        """Return the given sections in order, joined by one space; skip empty ones.

        Raises:
            ValueError: A section is not one of :data:`SECTIONS`.

        Example:
            >>> Report(findings="Clear lungs.", impression="Normal.").text(SECTIONS)
            'Clear lungs. Normal.'
        """
        undivided = "" if self.findings.strip() or self.impression.strip() else self.undivided
        parts: list[str] = []
        for section in sections:
            if section not in SECTIONS:
                raise ValueError(f"unknown report section {section!r}; allowed are {SECTIONS}")
            parts.append(getattr(self, section))
            if section in BODY:
                parts.append(undivided)
                undivided = ""  # use it once if both sections are requested
        return " ".join(part.strip() for part in parts if part.strip())


SECTIONS = ("indication", "comparison", "findings", "impression")
"""The sections a report can have."""

BODY = ("findings", "impression")
"""The sections that an undivided report replaces."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One image with its report.

    Attributes:
        image_id: Unique within the set; the key of the image's occlusion masks.
        study_id: The study (examination) the image belongs to.
        patient_id: The patient; the study if the collection names no patient.
        view: The projection in the words of the collection, such as ``PA`` or ``frontal``.
        report: The study's report.
        digest: A hash that changes whenever the image's pixels may have changed.
        labels: The findings of the collection, such as ``{"Edema"}``; the empty set if the
            study has none, None if the study is not labelled.
    """

    image_id: str
    study_id: str
    patient_id: str
    view: str
    report: Report
    digest: str
    labels: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An excluded item of a collection and the rule that excluded it."""

    item: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unread:
    """A table column that is not read.

    Attributes:
        column: The name of the column.
        meant: A missing column with a similar name, which may have been meant; or empty.
    """

    column: str
    meant: str = ""


def suggestions(misnamed: Mapping[str, str]) -> str:
    """Return a message that suggests names for misnamed columns, of which there is at least one."""
    questions = ", ".join(f"{name!r} (did you mean {meant!r}?)" for name, meant in misnamed.items())
    name, meant = next(iter(misnamed.items()))
    option = f"{meant}={repr(name)[1:-1]}"
    return f"columns not read: {questions}; rename them or set an option, such as {option}"


@dataclass(frozen=True)
class EvaluationSet:
    """Images with their reports, from one collection.

    Attributes:
        spec: The specification the set was loaded from, such as ``phantom:512``.
        pairs: One entry per image.
        decode: Decodes the image of a pair to uint8 ``[height, width]``.
        excluded: The excluded items, each with the reason.
        unread: The columns of the table that are not read.

    Raises:
        EvaluationSetError: There is no pair, or an image id is duplicated.
    """

    spec: str
    pairs: tuple[Pair, ...]
    decode: Callable[[Pair], Image] = field(repr=False)
    excluded: tuple[Exclusion, ...] = ()
    unread: tuple[Unread, ...] = ()

    def __post_init__(self) -> None:
        if not self.pairs:
            reasons = ", ".join(f"{n} {reason}" for reason, n in self.excluded_by_reason.items())
            raise EvaluationSetError(
                f"evaluation set {self.spec!r} is empty: no image with a usable report"
                f" (excluded: {reasons or 'none'}); name a set with at least one"
                + (f"; {suggestions(self.misnamed)}" if self.misnamed else ""),
                Code.EVALSET_EMPTY,
            )
        image_ids: set[str] = set()
        for row, pair in enumerate(self.pairs, start=1):
            if pair.image_id in image_ids:
                raise EvaluationSetError(
                    f"evaluation set {self.spec!r}: duplicate image id {pair.image_id!r} in row"
                    f" {row}; every image needs a unique id"
                )
            image_ids.add(pair.image_id)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.pairs)

    @property
    def name(self) -> str:
        """The kind of collection, ``phantom`` of ``phantom:512``."""
        return self.spec.partition(":")[0]

    @property
    def excluded_by_reason(self) -> dict[str, int]:
        """Number of excluded items by reason, sorted by reason."""
        counts: dict[str, int] = {}
        for exclusion in self.excluded:
            counts[exclusion.reason] = counts.get(exclusion.reason, 0) + 1
        return dict(sorted(counts.items()))

    @property
    def misnamed(self) -> dict[str, str]:
        """Unread columns that seem misnamed, with the missing column each may be meant for."""
        return {each.column: each.meant for each in self.unread if each.meant}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all image digests, reports, ids and labels; equal for equal sets."""
        digest = hashlib.sha256()
        for pair in self.pairs:
            sections = (getattr(pair.report, part.name) for part in fields(Report))
            row = (pair.image_id, pair.study_id, pair.patient_id, pair.view, pair.digest)
            labels = ["no labels"] if pair.labels is None else ["labels", *sorted(pair.labels)]
            for part in chain(row, sections, labels):
                encoded = part.encode()
                digest.update(len(encoded).to_bytes(8, "little"))
                digest.update(encoded)
        return digest.hexdigest()

    def subset(self, indexes: Sequence[int]) -> EvaluationSet:
        """Return a new set of the pairs at ``indexes``, in that order."""
        return EvaluationSet(
            spec=self.spec,
            pairs=tuple(self.pairs[i] for i in indexes),
            decode=self.decode,
            excluded=self.excluded,
            unread=self.unread,
        )
