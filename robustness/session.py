"""What a whole run found, put together from the records of its cases.

Under pytest-xdist this lives in the controller, which measures nothing; so it must not
import torch.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from robustness import environment, followup, metrics, statistics
from robustness.errors import GateError
from robustness.occlusion import SCHEMA as OCCLUSION_SCHEMA
from robustness.plan import Case, Plan
from robustness.properties import PROPERTIES
from robustness.results import (
    Record,
    cell_record,
    estimate_record,
    judgement_of,
    judgement_record,
)
from robustness.verdict import Judgement, Reason, Verdict, judge_run

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
        self._cases: dict[str, Record] = {}
        self._properties: dict[tuple[str, str], Record] = {}
        self._seconds: dict[str, float] = {}
        self._activity: dict[str, Record] = {}
        self._broken: set[str] = set()

    @property
    def empty(self) -> bool:
        """Whether no case of the gate has been heard of."""
        return not (self._cases or self._properties or self._broken)

    def add(self, record: Record, *, worker: str, seconds: float) -> None:
        """Takes in the record of one case or property."""
        self._activity[worker] = record["activity"]
        if "property" in record:
            mine = record["property"]
            self._properties[mine["model"], mine["property"]] = mine
            self._seconds[f"{mine['model']}-{mine['property']}"] = round(seconds, 3)
        else:
            self._cases[record["case"]] = record
            self._seconds[record["case"]] = round(seconds, 3)

    def add_broken(self, name: str) -> None:
        """Takes note of a case that an error of the code's own ended, before or after it."""
        self._broken.add(name)

    # --- results -----------------------------------------------------------------------

    def results(self, *, interrupted: bool = False) -> dict[str, Any]:
        """The content of ``results.json``.

        Args:
            interrupted: Whether the run was ended before its end; such a run never passes.
        """
        cells = [cell for case in self.plan.cases for cell in self._cells(case)]
        properties = [
            self._property(model, name) for model in self.plan.models for name in PROPERTIES
        ]
        comparison = followup.compare(self.plan, list(self._cases.values()))
        judged = [*cells, *properties, *(comparison["cases"] if comparison else [])]
        verdict = self._verdict(judged, interrupted=interrupted)
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

    def follow(self, results: dict[str, Any]) -> dict[str, Any]:
        """Keeps the run as a baseline and writes bounds, where that was asked for.

        Args:
            results: Of :meth:`results`.

        Returns:
            The same with what was done; with a failure as their verdict where it could not be.
        """
        done: Record = {"saved": None, "updates": []}
        if self.plan.save is not None:
            try:
                records = list(self._cases.values())
                done["saved"] = str(followup.save(self.plan, records, results))
            except GateError as error:
                results = followup.failed(results, Reason.BASELINE_FAILED, str(error))
                done["problem"] = str(error)
        if self.plan.update is not None:
            try:
                done["updates"] = followup.update(self.plan, results)
            except GateError as error:
                results = followup.failed(results, Reason.UPDATE_FAILED, str(error))
                done["problem"] = str(error)
        return results | {"followup": done}

    def _verdict(self, judged: list[Record], *, interrupted: bool) -> Judgement:
        verdict = judge_run(judgement_of(item) for item in judged)
        if self._disagreeing():
            return Judgement(
                Verdict.FAIL,
                Reason.INCONSISTENT,
                f"processes of this run measured different things: {self._disagreeing()}",
            )
        if interrupted and verdict.verdict is Verdict.PASS:
            message = f"the run was interrupted; {verdict.message}"
            return Judgement(Verdict.FAIL, Reason.INTERRUPTED, message)
        return verdict

    def _cells(self, case: Case) -> list[Record]:
        cells: list[Record] = self._cases.get(case.id, {}).get("cells", [])
        if self._stands(case.id, cells):
            return cells
        judgement = self._missing(case.id)
        kind = self.plan.evalset.partition(":")[0]
        return [
            cell_record(self.plan, cell, self.plan.thresholds.bounds(cell, kind), judgement)
            for cell in self.plan.cells(case)
        ]

    def _property(self, model: str, name: str) -> Record:
        found = self._properties.get((model, name))
        if found and self._stands(f"{model}-{name}", [found]):
            return found
        record = {"model": model, "property": name, "occlusion": None}
        judgement = self._missing(f"{model}-{name}")
        return record | judgement_record(judgement) | {"examples": 0, "room": None}

    def _stands(self, name: str, judged: list[Record]) -> bool:
        """Whether a case says what was judged: an error around it overrides all but a failure."""
        failed = any(item["verdict"] == Verdict.FAIL for item in judged)
        return bool(judged) and (failed or name not in self._broken)

    def _missing(self, name: str) -> Judgement:
        if name in self._broken:
            return Judgement(
                Verdict.FAIL, Reason.CRASHED, f"{name} ended with an error; see its failure"
            )
        return Judgement(
            Verdict.NOT_MEASURED, Reason.NOT_RUN, f"{name} was not run (deselected or cut short)"
        )

    def _curves(self) -> list[Record]:
        """What the levels of a model, pattern, fill and direction say together."""
        levels = self.plan.thresholds.levels
        curves = []
        for model in self.plan.models:
            for pattern in self.plan.thresholds.patterns:
                points = [
                    self._cases.get(Case(model, pattern, level).id, {}).get("curve", [])
                    for level in levels
                ]
                if all(points):
                    curves += _curves(model, pattern, levels, points)
        return curves

    def _protocol(self) -> Record:
        thresholds = self.plan.thresholds
        known = {r["cells"][0]["model"]: r["protocol"] for r in self._cases.values()}
        known = {model: protocol for model, protocol in known.items() if protocol}
        evalsets = [protocol["evalset"] for protocol in known.values()]
        return {
            "thresholds_sha256": hashlib.sha256(thresholds.path.read_bytes()).hexdigest(),
            "evalset": evalsets[0] if evalsets else {"spec": self.plan.evalset},
            "models": [known[model]["model"] for model in self.plan.models if model in known],
            "positives": thresholds.positives,
            "patterns": list(thresholds.patterns),
            "fills": list(thresholds.fills),
            "levels": list(thresholds.levels),
            "seed": thresholds.seed,
            "occlusion": OCCLUSION_SCHEMA,
            "precision": "float32",
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
        }


def _curves(
    model: str, pattern: str, levels: tuple[float, ...], points: list[list[Record]]
) -> list[Record]:
    curves = []
    for place, first in enumerate(points[0]):
        along = [point[place] for point in points]
        value = np.array([point["value"] for point in along])
        resampled = np.array([point["resampled"] for point in along]).T
        measures = {
            "area_under_curve": metrics.area_under_curve,
            "level_of_half_loss": metrics.level_of_half_loss,
        }
        curves.append(
            {
                "model": model,
                "pattern": pattern,
                "fill": first["fill"],
                "direction": first["direction"],
                "metric": metrics.HEADLINE,
                **{
                    name: estimate_record(
                        statistics.Replicates(
                            measure(levels, value).item(), measure(levels, resampled)
                        ).estimate()
                    )
                    for name, measure in measures.items()
                },
            }
        )
    return curves
