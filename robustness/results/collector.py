"""Collection of a run's records into its results.

Under pytest-xdist this runs in the controller, which measures nothing; so it must not import
torch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from robustness import metrics
from robustness._util import environment
from robustness.metrics import bootstrap as statistics
from robustness.metrics.curves import degradation_curves
from robustness.perturbation.occlusion import SCHEMA as OCCLUSION_SCHEMA
from robustness.plan import PROPERTIES, Case, Plan
from robustness.records import (
    RESULTS_SCHEMA,
    Activity,
    AnyRecord,
    CaseRecord,
    CurveRecord,
    EvaluationSetProtocol,
    Json,
    Judged,
    MeasurementRecord,
    PropertyRecord,
    Protocol,
    RecordError,
    encode,
    fails,
    unmeasured,
    unsearched,
)
from robustness.results import after_run as followup
from robustness.results import validation as completeness
from robustness.results.timing import profile_of
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

    @property
    def empty(self) -> bool:
        """True if no case of the gate has reported."""
        return not (self._cases or self._properties or self._errors)

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
            self._activity[worker] = Activity.from_json(message["activity"], "activity")
            if "property" in message:
                return self._add_property(PropertyRecord.from_json(data))
            return self._add_case(CaseRecord.from_json(data))
        except RecordError as error:
            self._faults[name] = completeness.malformed(error)
            return None

    def _add_property(self, record: PropertyRecord) -> PropertyRecord:
        name = _property_name(record.model, record.property)
        fault = completeness.property_fault(self.plan, record)
        if not (name in self._properties and self._properties[name].failed):
            self._properties[name] = record
        if fault:
            self._faults[name] = fault
        return record

    def _add_case(self, record: CaseRecord) -> CaseRecord:
        name = record.case
        fault = completeness.case_fault(self.plan, self._planned[name], record)
        if fault:
            self._faults[name] = fault
        elif not (name in self._cases and fails(self._cases[name])):
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
        """Return the content of ``results.json``.

        Args:
            interrupted: Whether the run was interrupted; such a run never passes.
            cut: Whether the run stopped early as requested, for example by ``-x``; all planned
                cases may have been measured.
        """
        missing = self._absent(cut=interrupted or cut)
        measurements = [
            record for case in self.plan.cases for record in self._measurements(case, missing)
        ]
        properties = [
            self._property(model, name, missing)
            for model in self.plan.models
            for name in PROPERTIES
        ]
        comparison = followup.compare(self.plan, list(self._cases.values()))
        judged: list[Judged] = [*measurements, *properties]
        if comparison:
            judged += comparison.comparisons
        kinds = "measurements, properties and comparisons" if comparison else MEASURED
        verdict = self._verdict(judged, kinds, interrupted=interrupted)
        counts = {v: sum(record.verdict is v for record in judged) for v in Verdict}
        devices = {each.device for each in self._activity.values() if each.device}
        return {
            "schema": RESULTS_SCHEMA,
            **encode(verdict),
            "summary": {
                "passed": counts[Verdict.PASS],
                "failed": counts[Verdict.FAIL],
                "not_measured": counts[Verdict.NOT_MEASURED],
            },
            "measurements": encode(measurements),
            "curves": encode(self._curves()),
            "properties": encode(properties),
            "comparison": encode(comparison),
            "protocol": self._protocol(),
            "environment": environment.describe(self._root)
            | {"device": sorted(devices), "batch_size": self.plan.batch_size},
            "timing": self._timing(),
        }

    def follow(self, results: Json, *, interrupted: bool = False) -> Json:
        """Return the results after the follow-up; see :func:`robustness.results.after_run.follow`."""
        records = list(self._cases.values())
        return followup.follow(self.plan, records, results, interrupted=interrupted)

    def _verdict(self, judged: Sequence[Judged], kinds: str, *, interrupted: bool) -> Judgement:
        verdict = judge_run((record.judgement for record in judged), kinds)
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
        return [
            unmeasured(
                self.plan,
                key,
                self.plan.thresholds.bounds(key, self.plan.evalset_kind),
                judgement,
            )
            for key in self.plan.measurements(case)
        ]

    def _valid(self, case: Case) -> CaseRecord | None:
        """Return a case's record if it counts."""
        record = self._cases.get(case.id)
        return record if record and self._counts(case.id, record.measurements) else None

    def _property(self, model: str, name: str, absent: Judgement) -> PropertyRecord:
        case_name = _property_name(model, name)
        record = self._properties.get(case_name)
        if record and self._counts(case_name, [record]):
            return record
        return unsearched(model, name, self._missing(case_name, absent))

    def _counts(self, name: str, judged: Sequence[Judged]) -> bool:
        """Return whether a record counts: an error of its case overrides all but a failure."""
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
            "evalset": encode(protocols[0].evalset) if protocols else {"spec": self.plan.evalset},
            "models": [encode(models[name]) for name in self.plan.models if name in models],
            "positives": thresholds.positives,
            "patterns": list(thresholds.patterns),
            "fills": list(thresholds.fills),
            "levels": list(thresholds.levels),
            "seed": thresholds.seed,
            "occlusion": OCCLUSION_SCHEMA,
            "precision": self.plan.precision,
            "ties": "expectation under random tie-breaking",
            "agreement": metrics.AGREEMENT,
            "intervals": {
                "method": "percentile bootstrap over studies",
                "confidence": statistics.CONFIDENCE,
                "replicates": statistics.REPLICATES,
                "seed": thresholds.seed,
            },
        }

    def _disagreement(self) -> str:
        """Return what two processes report differently, as if a file changed during the run."""
        evalsets: list[EvaluationSetProtocol] = []
        protocols: dict[str, Protocol] = {}
        for protocol in self._protocols():
            model = protocol.model.name
            if protocols.setdefault(model, protocol) != protocol:
                return f"{model} or its evaluation set"
            evalsets.append(protocol.evalset)
            if protocol.evalset != evalsets[0]:
                return "the evaluation set"
        judged = [each for record in self._cases.values() for each in record.measurements]
        results = [(record.model, record.verdict) for record in judged]
        results += [
            (record.model, record.verdict)
            for name, record in self._properties.items()
            if name not in self._faults
        ]
        absent = {model for model, verdict in results if verdict is Verdict.NOT_MEASURED}
        present = {model for model, verdict in results if verdict is not Verdict.NOT_MEASURED}
        for model in sorted(absent & present):
            return f"{model} was measured in part, and its weights are reported as absent"
        own = self.plan.thresholds
        if any(activity.thresholds != own.sha256 for activity in self._activity.values()):
            return f"by other thresholds than {own.path} held when the run began"
        loaded: dict[str, tuple[str, ...]] = {}
        for activity in self._activity.values():
            for model, fingerprints in activity.fingerprints.items():
                if loaded.setdefault(model, fingerprints) != fingerprints:
                    return f"{model} or its evaluation set"
        return ""

    def _timing(self) -> Json:
        activities = self._activity.values()
        stores = [activity.store for activity in activities]
        return {
            "seconds": round(time.perf_counter() - self._started, 3),
            "cases": dict(sorted(self._seconds.items())),
            "processes": len(activities),
            "model_loads": sum(activity.model_loads for activity in activities),
            "store": {
                "found": sum(store.found for store in stores),
                "computed": sum(store.computed for store in stores),
                "damaged": sum(store.damaged for store in stores),
            },
            "profile": profile_of(activities, self._setup + sum(self._seconds.values())),
        }


def _property_name(model: str, name: str) -> str:
    return f"{model}-{name}"
