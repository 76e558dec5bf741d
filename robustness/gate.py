"""The gate: what a run measures, made once and kept while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from robustness import encoder as encoders
from robustness.activity import peak_device_memory, peak_memory
from robustness.devices import choose_device
from robustness.embedding import Store, StoreCounts, decode_once
from robustness.encoder import DualEncoder
from robustness.errors import GateError
from robustness.evalset import EvaluationSet
from robustness.evalset import load as load_evalset
from robustness.measure import Measurement, Subject
from robustness.model_cache import ModelRequest, load_cached
from robustness.perturbation.occlusion import Occlusion
from robustness.plan import Case, Plan
from robustness.profile import LOADING, READING, Profile
from robustness.progress import Stream
from robustness.reasons import Judgement, Reason, Verdict
from robustness.results import (
    Record,
    bound_record,
    cell_record,
    curve_record,
    estimate_record,
    number,
    protocol_record,
    ranking_record,
)
from robustness.thresholds import CHANCE, DIRECTIONS, Bound, Cell
from robustness.verdict import judge, judge_failure

Measured = dict[str, Measurement]
"""A measurement, by direction."""


class Gate:
    """Loads what is asked for at the first use, once a process, and measures cases.

    Args:
        plan: What the run was asked for.
        stream: Where to show how far long work is, if it is a terminal.
        profile: Where the time is counted.
    """

    def __init__(
        self, plan: Plan, *, stream: Stream | None = None, profile: Profile | None = None
    ) -> None:
        self.plan = plan
        self.stream = stream
        self.model_loads = 0
        self.profile = Profile() if profile is None else profile
        self._subjects: dict[str, Subject] = {}
        self._failures: dict[str, GateError] = {}
        self._measured: dict[tuple[str, str, str, float], Measured] = {}

    @cached_property
    def store(self) -> Store:
        """Where embeddings are kept."""
        return Store(self.plan.store)

    @cached_property
    def evalset(self) -> EvaluationSet:
        """The evaluation set, each image decoded once."""
        with self.profile.phase(READING):
            loaded = load_evalset(self.plan.evalset_absolute, remember=self.store.fetch)
        return decode_once(loaded, self.store, stream=self.stream)

    @cached_property
    def device(self) -> str:
        """The torch device models run on."""
        return choose_device(self.plan.device)

    def subject(self, model: str) -> Subject:
        """A model on the evaluation set; a failure to load it is not tried again.

        Raises:
            GateError: The model, its weights or the evaluation set cannot be used.
        """
        if model in self._failures:
            raise self._failures[model]
        if model not in self._subjects:
            try:
                self._subjects[model] = self._load(model)
            except GateError as error:
                self._failures[model] = error
                raise
        return self._subjects[model]

    def _load(self, model: str) -> Subject:
        evalset = self.evalset
        entry = self.plan.entry(model)
        request = ModelRequest(entry.loader, entry.weights, entry.options)
        encoder, identity = load_cached(
            request, self.store.root, self.device, partial(self.load, model)
        )
        return Subject(
            encoder,
            evalset,
            positives=self.plan.thresholds.positives,
            store=self.store,
            seed=self.plan.thresholds.seed,
            batch_size=self.plan.batch_size,
            precision=self.plan.precision,
            profile=self.profile,
            stream=self.stream,
            identity=identity,
        )

    def load(self, model: str, weights: Path | None = None) -> DualEncoder:
        """Loads a model as the plan says, or from another checkpoint.

        Raises:
            GateError: The model or its weights cannot be used.
        """
        entry = self.plan.entry(model)
        self.model_loads += 1
        with self.profile.phase(LOADING, 1):
            return encoders.load(
                entry.loader, weights=weights or entry.weights, device=self.device, **entry.options
            )

    # --- cases -----------------------------------------------------------------------

    def run(self, case: Case) -> Record:
        """Measures and judges a case.

        Returns:
            The record: ``cells``, one a fill and direction, each judged; ``curve``, what
            the controller needs to draw the case's point of the degradation curve; and
            ``protocol``, what the measurement rests on.
        """
        cells = self.plan.cells(case)
        failure = None
        try:
            subject = self.subject(case.model)
            subject.prepare(self.occlusion(cell) for cell in cells)
            # Both directions come of one measurement.
            measured = {
                cell.fill: subject.measure(self.occlusion(cell))
                for cell in cells
                if cell.direction == DIRECTIONS[0]
            }
        except GateError as error:
            failure = judge_failure(error, optional=self.plan.models[case.model].optional)
        if failure:
            records = [self._unmeasured(cell, failure) for cell in cells]
            return {"case": case.id, "cells": records, "curve": [], "protocol": {}}
        return {
            "case": case.id,
            "cells": [self._judged(subject, cell, measured[cell.fill]) for cell in cells],
            "curve": [curve_record(cell, measured[cell.fill][cell.direction]) for cell in cells],
            "protocol": self.protocol(case.model),
            **self._queries(subject, cells, measured),
        }

    def _queries(
        self, subject: Subject, cells: Sequence[Cell], measured: Mapping[str, Measured]
    ) -> Record:
        """The ranks of every query, where the run is kept or compared."""
        if not self.plan.needs_ranks:
            return {}
        return {
            "ranks": [
                ranking_record(cell, measured[cell.fill][cell.direction].counts) for cell in cells
            ],
            "queries": {
                "measured_on": {
                    "images and reports": subject.evalset.fingerprint,
                    "text policy": asdict(subject.encoder.text_policy),
                },
                "patients": [pair.patient_id for pair in subject.evalset.pairs],
                "text_of_image": subject.matching.text_of_image.tolist(),
            },
        }

    def _unmeasured(self, cell: Cell, judgement: Judgement) -> Record:
        bounds = self.plan.thresholds.bounds(cell, self.plan.evalset_kind)
        return cell_record(self.plan, cell, bounds, judgement)

    def _judged(self, subject: Subject, cell: Cell, measured: Measured) -> Record:
        measurement = measured[cell.direction]
        bounds = self.plan.thresholds.bounds(cell, self.evalset.name)
        references = {CHANCE: measurement.chance}
        try:
            references |= self._references(subject, cell, bounds)
            judgement = judge(
                measurement.estimates, bounds, references, gallery=measurement.counts.gallery_size
            )
        except GateError as error:
            judgement = Judgement(Verdict.FAIL, Reason.REFERENCE_FAILED, str(error))
        if cell.level == 0 and (constant := _constant(measured)):
            judgement = Judgement(Verdict.FAIL, Reason.SCORES_CONSTANT, constant)
        if not measurement.hidden >= cell.level / 2:
            # Of small images a low level is less than a pixel: what is measured is near clean.
            text = (
                f"{measurement.hidden:.3g} of the images' area is hidden where {cell.level:g} is"
                " asked for; the images are too small for that level"
            )
            judgement = Judgement(Verdict.FAIL, Reason.NOTHING_HIDDEN, text)
        return cell_record(self.plan, cell, bounds, judgement) | {
            "n": measurement.n,
            "labelled": measurement.labelled,
            "metrics": {
                name: estimate_record(estimate) for name, estimate in measurement.estimates.items()
            },
            "chance": {name: number(value) for name, value in measurement.chance.items()},
            "hidden": measurement.hidden,
            "bounds": [bound_record(bound, references) for bound in bounds],
        }

    def _references(
        self, subject: Subject, cell: Cell, bounds: Sequence[Bound]
    ) -> dict[str, dict[str, float]]:
        """The metrics of the other models that a cell's bounds refer to.

        Raises:
            GateError: Such a model cannot be measured, or not on the same images.
        """
        names = {bound.reference for bound in bounds} - {None, CHANCE}
        return {name: self._reference(subject, cell, name) for name in sorted(filter(None, names))}

    def _reference(self, subject: Subject, cell: Cell, name: str) -> dict[str, float]:
        key = (name, cell.pattern, cell.fill, cell.level)
        problem = f"{cell.model} cannot be held against {name}"
        try:
            other = self.subject(name)
            if key not in self._measured:
                case = Case(cell.model, cell.pattern, cell.level)
                other.prepare(self.occlusion(each) for each in self.plan.cells(case))
                self._measured[key] = other.measure(self.occlusion(cell))
        except GateError as error:
            raise GateError(f"{problem}: {error}") from error
        if other.evalset.fingerprint != subject.evalset.fingerprint:
            raise GateError(
                f"{problem}: the one is measured on {len(subject.evalset)} images, the other on"
                f" {len(other.evalset)}, since they read other sections of the reports"
            )
        estimates = self._measured[key][cell.direction].estimates
        return {metric: estimate.value for metric, estimate in estimates.items()}

    def occlusion(self, cell: Cell) -> Occlusion:
        """What is hidden in a measurement."""
        return Occlusion(cell.pattern, cell.level, cell.fill, self.plan.thresholds.seed)

    def protocol(self, model: str) -> Record:
        """What a model's measurements rest on, beside the plan."""
        return protocol_record(self.plan, model, self.evalset, self.subject(model))

    def activity(self) -> dict[str, Any]:
        """What this process did so far, for the timing block."""
        # What could not be made is not made here once more: a case has reported it.
        made = vars(self)
        counts = made["store"].counts if "store" in made else StoreCounts()
        return {
            "thresholds": self.plan.thresholds.sha256,
            "device": made.get("device"),
            "model_loads": self.model_loads,
            "store": asdict(counts),
            "profile": self.profile.record(),
            "peak_memory_mb": peak_memory(),
            "peak_device_memory_mb": peak_device_memory(made.get("device")),
            "fingerprints": {
                name: [subject.encoder.fingerprint, subject.evalset.fingerprint]
                for name, subject in self._subjects.items()
            },
        }


def _constant(measured: Measured) -> str:
    """Why scores tell nothing apart, which no bound however low may pass on clean images."""
    for direction, measurement in measured.items():
        counts = measurement.counts
        others = counts.gallery_size - counts.positives
        if others.any() and not counts.greater.any() and (counts.equal == others).all():
            return (
                f"{direction}: on clean images every candidate of every query has the same score;"
                " the model tells nothing apart"
            )
    return ""
