"""What a whole run found, put together from the records of its cases.

Under pytest-xdist this lives in the controller, which measures nothing; so it must not
import torch.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from robustness import completeness, environment, followup, metrics, statistics
from robustness.activity import profile_of
from robustness.curves import degradation_curves
from robustness.perturbation.occlusion import SCHEMA as OCCLUSION_SCHEMA
from robustness.plan import PROPERTIES, Case, Plan
from robustness.reasons import Judgement, Reason, Verdict
from robustness.results import (
    Record,
    cell_record,
    fails,
    judgement_of,
    judgement_record,
)
from robustness.verdict import MEASURED, judge_run

RESULTS_SCHEMA = "robustness-results-1"


class Session:
    """Collects the records of a run and turns them into its results.

    Args:
        plan: What the run was asked for.
        root: The repository the run belongs to.
    """

    def __init__(self, plan: Plan, root: Path) -> None:
        self.plan = plan
        self._root = root
        self._started = time.perf_counter()
        self._planned = {case.id: case for case in plan.cases}
        self._cases: dict[str, Record] = {}
        self._properties: dict[tuple[str, str], Record] = {}
        self._seconds: dict[str, float] = {}
        self._setup = 0.0
        self._activity: dict[str, Record] = {}
        self._broken: dict[str, str] = {}
        self._incomplete: dict[str, Judgement] = {}
        self._lost: list[str] = []

    @property
    def empty(self) -> bool:
        """Whether no case of the gate has been heard of."""
        return not (self._cases or self._properties or self._broken)

    def add(self, record: Record, *, worker: str, seconds: float) -> None:
        """Takes in the record of one case or property; of several, one that fails stays."""
        self._activity[worker] = record["activity"]
        if "property" in record:
            mine = record["property"]
            key = (mine["model"], mine["property"])
            name = "-".join(key)
            if not (key in self._properties and fails({"property": self._properties[key]})):
                self._properties[key] = mine
            problem = completeness.property_problem(self.plan, mine)
        else:
            name = record["case"]
            problem = completeness.problem(self.plan, self._planned[name], record)
            if not (problem or (name in self._cases and fails(self._cases[name]))):
                self._cases[name] = record
        if problem:
            self._incomplete[name] = problem
        self._seconds[name] = round(seconds, 3)

    def add_setup(self, seconds: float) -> None:
        """Takes note of what was made before a case: the first of a process loads torch."""
        self._setup += seconds

    def add_broken(self, name: str, error: str) -> None:
        """Takes note of a case that an error of the code's own ended, before or after it."""
        self._broken[name] = error

    def add_silent(self, name: str) -> None:
        """Takes note of a case that passed without a record."""
        silent = Judgement(Verdict.FAIL, Reason.RECORD_MISSING, "it ran and reported nothing")
        self._incomplete.setdefault(name, silent)

    def add_lost(self, worker: str) -> None:
        """Takes note of a process that ended before its time."""
        self._lost.append(worker)

    # --- results -----------------------------------------------------------------------

    def results(self, *, interrupted: bool = False, cut: bool = False) -> dict[str, Any]:
        """The content of ``results.json``.

        Args:
            interrupted: Whether the run was ended before its end; such a run never passes.
            cut: Whether it stopped early as it was asked to, by ``-x`` say; it may have
                measured all there was.
        """
        missing = self._absent(cut=interrupted or cut)
        cells = [cell for case in self.plan.cases for cell in self._cells(case, missing)]
        properties = [
            self._property(model, name, missing)
            for model in self.plan.models
            for name in PROPERTIES
        ]
        comparison = followup.compare(self.plan, list(self._cases.values()))
        judged = [*cells, *properties, *(comparison["cases"] if comparison else [])]
        what = "measurements, properties and comparisons" if comparison else MEASURED
        verdict = self._verdict(judged, what, interrupted=interrupted)
        counts = {v: sum(item["verdict"] == v for item in judged) for v in Verdict}
        return {
            "schema": RESULTS_SCHEMA,
            "verdict": str(verdict.verdict),
            "reason": str(verdict.reason),
            "message": verdict.message,
            "summary": {
                "passed": counts[Verdict.PASS],
                "failed": counts[Verdict.FAIL],
                "not_measured": counts[Verdict.NOT_MEASURED],
            },
            "cases": cells,
            "curves": self._curves(),
            "properties": properties,
            "comparison": comparison,
            "protocol": self._protocol(),
            "environment": environment.describe(self._root)
            | {
                "device": sorted({a["device"] for a in self._activity.values() if a["device"]}),
                "batch_size": self.plan.batch_size,
            },
            "timing": self._timing(),
        }

    def follow(self, results: dict[str, Any], *, interrupted: bool = False) -> dict[str, Any]:
        """The results with what followed the run; see :func:`robustness.followup.follow`."""
        records = list(self._cases.values())
        return followup.follow(self.plan, records, results, interrupted=interrupted)

    def _verdict(self, judged: list[Record], what: str, *, interrupted: bool) -> Judgement:
        verdict = judge_run((judgement_of(item) for item in judged), what)
        if self._disagreeing():
            return Judgement(
                Verdict.FAIL,
                Reason.INCONSISTENT,
                f"processes of this run measured different things: {self._disagreeing()}",
            )
        if interrupted and verdict.verdict is Verdict.PASS:
            message = f"the run was interrupted; {verdict.message}"
            return Judgement(Verdict.FAIL, Reason.INTERRUPTED, message)
        if self._lost and verdict.verdict is Verdict.PASS:
            message = f"worker {', '.join(self._lost)} crashed; {verdict.message}"
            return Judgement(Verdict.FAIL, Reason.WORKER_CRASHED, message)
        return verdict

    def _absent(self, *, cut: bool) -> Judgement:
        """What is said of a case that was not heard of."""
        said = {
            Reason.NOT_RUN: "not run: deselected or skipped",
            Reason.INTERRUPTED: "not run: the run ended before it",
            Reason.WORKER_CRASHED: f"not run: worker {', '.join(self._lost)} crashed",
        }
        reason = Reason.INTERRUPTED if cut else Reason.NOT_RUN
        reason = Reason.WORKER_CRASHED if self._lost else reason
        return Judgement(Verdict.NOT_MEASURED, reason, said[reason])

    def _cells(self, case: Case, absent: Judgement) -> list[Record]:
        if measured := self._measured(case):
            cells: list[Record] = measured["cells"]
            return cells
        judgement = self._missing(case.id, absent)
        kind = self.plan.evalset_kind
        return [
            cell_record(self.plan, cell, self.plan.thresholds.bounds(cell, kind), judgement)
            for cell in self.plan.cells(case)
        ]

    def _measured(self, case: Case) -> Record:
        """A case's record, where what it says stands; else nothing."""
        record = self._cases.get(case.id, {})
        return record if self._stands(case.id, record.get("cells", [])) else {}

    def _property(self, model: str, name: str, absent: Judgement) -> Record:
        found = self._properties.get((model, name))
        if found and self._stands(f"{model}-{name}", [found]):
            return found
        record = {"model": model, "property": name, "occlusion": None}
        judgement = self._missing(f"{model}-{name}", absent)
        return record | judgement_record(judgement) | {"examples": 0, "room": None}

    def _stands(self, name: str, judged: list[Record]) -> bool:
        """Whether a case says what was judged: an error around it overrides all but a failure."""
        failed = any(item["verdict"] == Verdict.FAIL for item in judged)
        amiss = name in self._broken or name in self._incomplete
        return bool(judged) and (failed or not amiss)

    def _missing(self, name: str, absent: Judgement) -> Judgement:
        if name in self._broken:
            text = f"{name} ended with an error, see its failure: {self._broken[name]}"
            return Judgement(Verdict.FAIL, Reason.CRASHED, text)
        if name in self._incomplete:
            found = self._incomplete[name]
            return replace(found, message=f"{name}: {found.message}")
        return absent

    def _curves(self) -> list[Record]:
        """What the levels of a model, pattern, fill and direction say together."""
        levels = self.plan.thresholds.levels
        curves = []
        for model in self.plan.models:
            for pattern in self.plan.thresholds.patterns:
                points = [
                    self._measured(Case(model, pattern, level)).get("curve", []) for level in levels
                ]
                if all(points):
                    curves += degradation_curves(model, pattern, levels, points)
        return curves

    def _protocol(self) -> Record:
        thresholds = self.plan.thresholds
        known = {r["cells"][0]["model"]: r["protocol"] for r in self._cases.values()}
        known = {model: protocol for model, protocol in known.items() if protocol}
        evalsets = [protocol["evalset"] for protocol in known.values()]
        return {
            "thresholds_sha256": thresholds.sha256,
            "evalset": evalsets[0] if evalsets else {"spec": self.plan.evalset},
            "models": [known[model]["model"] for model in self.plan.models if model in known],
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

    def _disagreeing(self) -> str:
        """What two processes report differently and must not: a file changed under the run."""
        seen: dict[str, str] = {}
        for record in self._cases.values():
            if record["protocol"]:
                model = record["protocol"]["model"]["name"]
                text = json.dumps(record["protocol"], sort_keys=True)
                if seen.setdefault(model, text) != text:
                    return f"{model} or its evaluation set"
                evalset = json.dumps(record["protocol"]["evalset"], sort_keys=True)
                if seen.setdefault("", evalset) != evalset:
                    return "the evaluation set"
        judged = [cell for record in self._cases.values() for cell in record["cells"]]
        judged += [
            item for key, item in self._properties.items() if "-".join(key) not in self._incomplete
        ]
        absent, there = (
            {item["model"] for item in judged if (item["verdict"] == Verdict.NOT_MEASURED) is gone}
            for gone in (True, False)
        )
        for model in sorted(absent & there):
            return f"{model} was measured in part, and its weights are said to be absent"
        own = self.plan.thresholds
        if any(activity["thresholds"] != own.sha256 for activity in self._activity.values()):
            return f"by other thresholds than {own.path} held when the run began"
        loaded: dict[str, list[str]] = {}
        for activity in self._activity.values():
            for model, fingerprints in activity["fingerprints"].items():
                if loaded.setdefault(model, fingerprints) != fingerprints:
                    return f"{model} or its evaluation set"
        return ""

    def _timing(self) -> Record:
        stores = [activity["store"] for activity in self._activity.values()]
        return {
            "seconds": round(time.perf_counter() - self._started, 3),
            "cases": dict(sorted(self._seconds.items())),
            "processes": len(self._activity),
            "model_loads": sum(a["model_loads"] for a in self._activity.values()),
            "store": {
                name: sum(store[name] for store in stores)
                for name in ("found", "computed", "damaged")
            },
            "profile": profile_of(
                self._activity.values(), self._setup + sum(self._seconds.values())
            ),
        }
