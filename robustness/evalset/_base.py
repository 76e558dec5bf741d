"""The values every evaluation set is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import chain
from typing import Any, Protocol

from numpy.typing import NDArray

from robustness.errors import EvaluationSetError
from robustness.evalset.images import Image


class Remember(Protocol):
    """Keeps arrays by a key that says everything they depend on."""

    def __call__(
        self, key: Mapping[str, Any], compute: Callable[[], dict[str, NDArray[Any]]], /
    ) -> dict[str, NDArray[Any]]:
        """The arrays of a key, computed where they are not known."""
        ...


def forget(
    _key: Mapping[str, Any], compute: Callable[[], dict[str, NDArray[Any]]], /
) -> dict[str, NDArray[Any]]:
    """Keeps nothing: computes every time."""
    return compute()


@dataclass(frozen=True, slots=True)
class Report:
    """A radiology report, by section; a section the report lacks is empty.

    Attributes:
        indication: Why the image was asked for.
        comparison: The earlier images it was compared with.
        findings: What is seen.
        impression: What is made of it.
        undivided: The text of a report that comes without sections. It is read, once, where
            findings or impression are asked for and the report has neither.
    """

    indication: str = ""
    comparison: str = ""
    findings: str = ""
    impression: str = ""
    undivided: str = ""

    def text(self, sections: Iterable[str]) -> str:
        """The named sections, in the order given, joined by one space; empty ones left out.

        Raises:
            ValueError: A section is not one of :data:`SECTIONS`.
        """
        undivided = "" if self.findings.strip() or self.impression.strip() else self.undivided
        parts: list[str] = []
        for section in sections:
            if section not in SECTIONS:
                raise ValueError(f"unknown report section {section!r}; there are {SECTIONS}")
            parts.append(getattr(self, section))
            if section in BODY:
                parts.append(undivided)
                undivided = ""  # asked for both, it is read once
        return " ".join(part.strip() for part in parts if part.strip())


SECTIONS = ("indication", "comparison", "findings", "impression")
"""The sections a report can have."""

BODY = ("findings", "impression")
"""The sections that an undivided report stands for."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One image with its report.

    Attributes:
        image_id: Unique within the set; the key of the image's occlusion masks.
        study_id: The study (examination) the image belongs to.
        patient_id: The patient; where a collection does not tell, the study.
        view: The projection as the collection names it, such as ``PA`` or ``frontal``.
        report: The study's report.
        digest: A hash that changes whenever the image's pixels may have changed.
        labels: The findings the collection names, such as ``{"Edema"}``; the empty set where
            it names none, None where it says nothing of this study.
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
    """Something of the collection that is left out, and the rule that leaves it out."""

    item: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unread:
    """A column of a table that is not read.

    Attributes:
        column: Its name.
        meant: The column that would be read, which the table lacks and whose name is near;
            empty where there is none.
    """

    column: str
    meant: str = ""


def suggestions(misnamed: Mapping[str, str]) -> str:
    """Columns that are not read and seem to be meant for others, in words.

    Args:
        misnamed: As :attr:`EvaluationSet.misnamed`, at least one.
    """
    asked = ", ".join(f"{name!r} (did you mean {meant!r}?)" for name, meant in misnamed.items())
    name, meant = next(iter(misnamed.items()))
    option = f"{meant}={repr(name)[1:-1]}"
    return f"columns not read: {asked}; rename one, or name it by an option, such as {option}"


@dataclass(frozen=True)
class EvaluationSet:
    """Images with their reports, as one collection offers them.

    Attributes:
        spec: The text the set was loaded from, such as ``phantom:512``.
        pairs: One entry an image.
        decode: Reads the image of a pair: uint8 ``[height, width]``.
        excluded: What was left out, each with its reason.
        unread: The columns that are not read, of a set that comes as a table.

    Raises:
        EvaluationSetError: There is no pair, or an image id stands twice.
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
                f" (excluded: {reasons or 'nothing'}); name a set with at least one"
                + (f"; {suggestions(self.misnamed)}" if self.misnamed else ""),
                "evalset_empty",
            )
        seen: set[str] = set()
        for row, pair in enumerate(self.pairs, start=1):
            if pair.image_id in seen:
                raise EvaluationSetError(
                    f"evaluation set {self.spec!r}: image id {pair.image_id!r} stands twice,"
                    f" the second time in row {row}; every image needs an id of its own"
                )
            seen.add(pair.image_id)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.pairs)

    @property
    def name(self) -> str:
        """The kind of collection, ``phantom`` of ``phantom:512``."""
        return self.spec.partition(":")[0]

    @property
    def excluded_by_reason(self) -> dict[str, int]:
        """How many items each rule left out, by reason, in alphabetical order."""
        counts: dict[str, int] = {}
        for exclusion in self.excluded:
            counts[exclusion.reason] = counts.get(exclusion.reason, 0) + 1
        return dict(sorted(counts.items()))

    @property
    def misnamed(self) -> dict[str, str]:
        """The columns that are not read and seem to be meant for one that is lacking: for which."""
        return {each.column: each.meant for each in self.unread if each.meant}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every image's digest and every report: equal sets, equal text."""
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
        """The pairs at ``indexes``, in that order, as a set of its own."""
        return EvaluationSet(
            spec=self.spec,
            pairs=tuple(self.pairs[i] for i in indexes),
            decode=self.decode,
            excluded=self.excluded,
            unread=self.unread,
        )
