"""Collection of a run's records into its results.

Under pytest-xdist this runs in the controller, so nothing here imports torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np

from robustness import metrics
from robustness._util import environment
from robustness.metrics.bootstrap import CONFIDENCE, REPLICATES, Replicates
from robustness.metrics.curves import area_under_curve, level_of_half_loss
from robustness.metrics.rank_counts import Values
from robustness.perturbation.occlusion import SCHEMA as OCCLUSION_SCHEMA
from robustness.plan import PROPERTIES, Case, Plan
from robustness.records import (
    Activity,
    AnyRecord,
    CaseRecord,
    CurvePoint,
    CurveRecord,
    EstimateRecord,
    MeasurementRecord,
    PropertyRecord,
    Protocol,
    unmeasured,
)
from robustness.records.codec import RESULTS_SCHEMA, Json, RecordError, encode
from robustness.results import after_run
from robustness.results.timing import timing
from robustness.results.validation import case_fault, malformed, property_fault
from robustness.verdict.judge import MEASURED, judge_run
from robustness.verdict.reasons import Judgement, Reason, Verdict


class Session:
    """Collects the records of a run and turns them into its results.

    Args:
        plan: The plan of the run.
        root: The repository that the run belongs to.
    """

    def __init__(self, plan: Plan, root: Path) -> None:
        self.plan = plan
        self._root = root
        self._started = time.perf_counter()
        self._planned = {case.id: case for case in plan.cases}
        self._cases: dict[str, CaseRecord] = {}
        self._properties: dict[str, PropertyRecord] = {}
        self._seconds: dict[str, float] = {}
        self._setup = 0.0
        self._activity: dict[str, Activity] = {}
        self._errors: dict[str, str] = {}
        self._faults: dict[str, Judgement] = {}
        self._lost: list[str] = []

    def add(self, message: Json, *, worker: str, seconds: float) -> AnyRecord | None:
        """Add the record of a case or property; of several of one name, a failed one stays.

        Args:
            message: The JSON that :func:`robustness.plugin.worker.attach` put on the report, of a
                planned case or property.
            worker: The process that sent it.
            seconds: Duration of the case.

        Returns:
            The record; None if it is malformed.
        """
        if "property" in message:
            data = message["property"]
            name = _property_name(data["model"], data["property"])
        else:
            data = message["case"]
            name = data["case"]
        self._seconds[name] = round(seconds, 3)
        try:
            self._activity[worker] = Activity.from_json(message["activity"])
            if "property" in message:
                return self._add_property(name, PropertyRecord.from_json(data))
            return self._add_case(name, CaseRecord.from_json(data))
        except RecordError as error:
            self._faults[name] = malformed(error)
            return None

    def _add_property(self, name: str, record: PropertyRecord) -> PropertyRecord:
        if fault := property_fault(self.plan, record):
            self._faults[name] = fault
        if not (name in self._properties and self._properties[name].failed):
            self._properties[name] = record
        return record

    def _add_case(self, name: str, record: CaseRecord) -> CaseRecord:
        if fault := case_fault(self.plan, self._planned[name], record):
            self._faults[name] = fault
        elif not (name in self._cases and self._cases[name].failed):
            self._cases[name] = record
        return record

    def add_setup(self, seconds: float) -> None:
        """Add the duration of a case's setup; the first of a process imports torch."""
        self._setup += seconds

    def add_error(self, name: str, error: str) -> None:
        """Add a case that ended with an error, before or after its measurement."""
        self._errors[name] = error

    def add_silent(self, name: str) -> None:
        """Add a case that passed without a record."""
        fault = Judgement(Verdict.FAIL, Reason.RECORD_MISSING, "it ran and reported nothing")
        self._faults.setdefault(name, fault)

    def add_lost(self, worker: str) -> None:
        """Add a worker that died."""
        self._lost.append(worker)

    # --- results -----------------------------------------------------------------------

    def results(self, *, interrupted: bool = False, cut: bool = False) -> Json:
        """Return the content of ``results.json``, after the follow-up of the run.

        Args:
            interrupted: True if the run was interrupted; such a run never passes.
            cut: True if the run stopped early as requested, for example by ``-x``; all planned
                cases may have been measured.
        """
        absent = self._absent(cut=interrupted or cut)
        measurements = [
            record for case in self.plan.cases for record in self._measurements(case, absent)
        ]
        properties = [
            self._property(model, name, absent) for model in self.plan.models for name in PROPERTIES
        ]
        records = list(self._cases.values())
        comparison = after_run.compare(self.plan, records)
        judged: list[Judgement] = [*measurements, *properties]
        kinds = MEASURED
        if comparison:
            judged += comparison.comparisons
            kinds = "measurements, properties and comparisons"
        verdict = self._verdict(judged, kinds, interrupted=interrupted)
        devices = {each.device for each in self._activity.values() if each.device}
        document: Json = encode(
            {
                "schema": RESULTS_SCHEMA,
                "verdict": verdict.verdict,
                "reason": verdict.reason,
                "message": verdict.message,
                "summary": {
                    name: sum(each.verdict is value for each in judged)
                    for name, value in (
                        ("passed", Verdict.PASS),
                        ("failed", Verdict.FAIL),
                        ("not_measured", Verdict.NOT_MEASURED),
                    )
                },
                "measurements": measurements,
                "curves": self._curves(),
                "properties": properties,
                "comparison": comparison,
                "protocol": self._protocol(),
                "environment": environment.describe(self._root)
                | {"device": sorted(devices), "batch_size": self.plan.batch_size},
                "timing": timing(
                    self._activity.values(),
                    self._seconds,
                    setup=self._setup,
                    elapsed=time.perf_counter() - self._started,
                ),
            }
        )
        return after_run.follow(self.plan, records, document, interrupted=interrupted)

    def _verdict(self, judged: Iterable[Judgement], kinds: str, *, interrupted: bool) -> Judgement:
        verdict = judge_run(judged, kinds)
        if disagreement := self._disagreement():
            return Judgement(
                Verdict.FAIL,
                Reason.INCONSISTENT,
                f"processes of this run measured different things: {disagreement}",
            )
        if interrupted and verdict.verdict is Verdict.PASS:
            message = f"the run was interrupted; {verdict.message}"
            return Judgement(Verdict.FAIL, Reason.INTERRUPTED, message)
        if self._lost and verdict.verdict is Verdict.PASS:
            message = f"worker {', '.join(self._lost)} crashed; {verdict.message}"
            return Judgement(Verdict.FAIL, Reason.WORKER_CRASHED, message)
        return verdict

    def _absent(self, *, cut: bool) -> Judgement:
        """Return the judgement of a case that did not report."""
        messages = {
            Reason.NOT_RUN: "not run: deselected or skipped",
            Reason.INTERRUPTED: "not run: the run ended before it",
            Reason.WORKER_CRASHED: f"not run: worker {', '.join(self._lost)} crashed",
        }
        reason = Reason.INTERRUPTED if cut else Reason.NOT_RUN
        reason = Reason.WORKER_CRASHED if self._lost else reason
        return Judgement(Verdict.NOT_MEASURED, reason, messages[reason])

    def _measurements(self, case: Case, absent: Judgement) -> Sequence[MeasurementRecord]:
        if record := self._valid(case):
            return record.measurements
        judgement = self._missing(case.id, absent)
        return [unmeasured(self.plan, key, judgement) for key in self.plan.measurements(case)]

    def _valid(self, case: Case) -> CaseRecord | None:
        """Return a case's record if it counts."""
        record = self._cases.get(case.id)
        return record if record and self._counts(case.id, record.measurements) else None

    def _property(self, model: str, name: str, absent: Judgement) -> PropertyRecord:
        case_name = _property_name(model, name)
        record = self._properties.get(case_name)
        if record and self._counts(case_name, [record]):
            return record
        missing = self._missing(case_name, absent)
        return PropertyRecord(*astuple(missing), model=model, property=name)

    def _counts(self, name: str, judged: Sequence[Judgement]) -> bool:
        """Return True if a record counts: an error of its case overrides all but a failure."""
        faulty = name in self._errors or name in self._faults
        return bool(judged) and (not faulty or any(record.failed for record in judged))

    def _missing(self, name: str, absent: Judgement) -> Judgement:
        if name in self._errors:
            text = f"{name} ended with an error, see its failure: {self._errors[name]}"
            return Judgement(Verdict.FAIL, Reason.CRASHED, text)
        if name in self._faults:
            fault = self._faults[name]
            return replace(fault, message=f"{name}: {fault.message}")
        return absent

    def _curves(self) -> list[CurveRecord]:
        """Return the curves of which every level was measured."""
        levels = self.plan.thresholds.levels
        curves = []
        for model in self.plan.models:
            for pattern in self.plan.thresholds.patterns:
                records = [self._valid(Case(model, pattern, level)) for level in levels]
                points = [record.curve for record in records if record and record.curve]
                if len(points) == len(levels):
                    curves += degradation_curves(model, pattern, levels, points)
        return curves

    def _protocols(self) -> list[Protocol]:
        """Return the protocol of every case that was measured."""
        return [record.protocol for record in self._cases.values() if record.protocol]

    def _protocol(self) -> Json:
        thresholds = self.plan.thresholds
        protocols = self._protocols()
        models = {protocol.model.name: protocol.model for protocol in protocols}
        return {
            "thresholds_sha256": thresholds.sha256,
            "evalset": protocols[0].evalset if protocols else {"spec": self.plan.evalset},
            "models": [models[name] for name in self.plan.models if name in models],
            "positives": thresholds.positives,
            "patterns": thresholds.patterns,
            "fills": thresholds.fills,
            "levels": thresholds.levels,
            "seed": thresholds.seed,
            "occlusion": OCCLUSION_SCHEMA,
            "precision": self.plan.precision,
            "ties": "expectation under random tie-breaking",
            "agreement": metrics.AGREEMENT,
            "intervals": {
                "method": "percentile bootstrap over studies",
                "confidence": CONFIDENCE,
                "replicates": REPLICATES,
                "seed": thresholds.seed,
            },
        }

    def _disagreement(self) -> str:
        """Return what two processes report differently, as if a file changed during the run."""
        protocols: dict[str, Protocol] = {}
        for protocol in self._protocols():
            model = protocol.model.name
            if protocols.setdefault(model, protocol) != protocol:
                return f"{model} or its evaluation set"
        evalsets = [protocol.evalset for protocol in protocols.values()]
        if any(evalset != evalsets[0] for evalset in evalsets):
            return "the evaluation set"
        judged: list[MeasurementRecord | PropertyRecord] = [
            *(each for record in self._cases.values() for each in record.measurements),
            *(each for name, each in self._properties.items() if name not in self._faults),
        ]
        absent = {each.model for each in judged if each.verdict is Verdict.NOT_MEASURED}
        present = {each.model for each in judged if each.verdict is not Verdict.NOT_MEASURED}
        for model in sorted(absent & present):
            return f"{model} was measured in part, and its weights are reported as absent"
        own = self.plan.thresholds
        if any(activity.thresholds != own.sha256 for activity in self._activity.values()):
            return f"{own.path} changed after the run began"
        loaded: dict[str, tuple[str, ...]] = {}
        for activity in self._activity.values():
            for model, fingerprints in activity.fingerprints.items():
                if loaded.setdefault(model, fingerprints) != fingerprints:
                    return f"{model} or its evaluation set"
        return ""


def _property_name(model: str, name: str) -> str:
    return f"{model}-{name}"


def degradation_curves(
    model: str, pattern: str, levels: Sequence[float], points: Sequence[Sequence[CurvePoint]]
) -> list[CurveRecord]:
    """Summarise the curves of a model and pattern: one per fill and direction.

    Args:
        model: Name of the model.
        pattern: Name of the pattern.
        levels: Levels, ascending.
        points: For each level, the curve points of its case's record.
    """

    def summary(
        measure: Callable[[Sequence[float], Values], Values], along: Sequence[Replicates]
    ) -> EstimateRecord:
        value = np.array([each.value for each in along])
        resampled = np.array([each.resampled for each in along]).T
        return EstimateRecord.of(
            Replicates(measure(levels, value).item(), measure(levels, resampled)).estimate()
        )

    curves = []
    for curve in zip(*points, strict=True):
        along = [point.replicates for point in curve]
        curves.append(
            CurveRecord(
                model=model,
                pattern=pattern,
                fill=curve[0].fill,
                direction=curve[0].direction,
                metric=metrics.PRIMARY_METRIC,
                area_under_curve=summary(area_under_curve, along),
                level_of_half_loss=summary(level_of_half_loss, along),
            )
        )
    return curves
