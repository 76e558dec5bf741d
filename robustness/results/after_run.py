"""Follow-up of a run: comparison with a baseline, saving as one, and update of bounds.

It reads the records of the cases; nothing is measured and torch is not needed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from robustness._util.files import shortest, write_whole
from robustness.errors import GateError
from robustness.plan import Plan
from robustness.records import CaseRecord
from robustness.records.codec import Json, encode
from robustness.records.comparison import ComparisonRecord, ComparisonsRecord
from robustness.regression import baseline, baseline_file
from robustness.regression import run as regression
from robustness.thresholds import Stamp, unchanged_reason, updated
from robustness.verdict.reasons import Judgement, Reason, Verdict


def baseline_of(
    plan: Plan, records: Sequence[CaseRecord], environment: Mapping[str, Any] | None = None
) -> baseline.Run:
    """Return the ranks of a run as a baseline.

    Args:
        plan: The plan of the run.
        records: Its cases; those without ranks are ignored.
        environment: Machine and package versions.
    """
    models: dict[str, baseline.ModelRun] = {}
    for record in records:
        if record.queries is None or record.protocol is None or not record.ranks:
            continue
        name = record.protocol.model.name
        earlier = models[name].ranks if name in models else {}
        models[name] = baseline.ModelRun(
            record.protocol.model.fingerprint,
            record.queries.measured_on,
            record.queries.patients,
            np.array(record.queries.text_of_image, np.int64),
            {**earlier, **{baseline.Key(*each.key): each.counts for each in record.ranks}},
        )
    # Not part of the protocol: a run may be compared with one in another precision.
    facts = {"evalset": plan.evalset, "precision": plan.precision}
    return baseline.Run(plan.protocol, models, {**(environment or {}), **facts})


def compare(plan: Plan, records: Sequence[CaseRecord]) -> ComparisonsRecord | None:
    """Return the run compared with the plan's baseline; None if the plan has none.

    There is at least one comparison, so that a run that compared nothing cannot pass.
    """
    if plan.compare is None or plan.baseline_run is None:
        return None
    comparisons = regression.compare(baseline_of(plan, records), plan.baseline_run, plan.regression)
    if not comparisons:
        text = f"no measurement can be compared with baseline {plan.compare}"
        comparisons = [ComparisonRecord(Verdict.FAIL, Reason.BASELINE_MISMATCH, text)]
    # Old baselines have no precision; float32 was the only one.
    precision = {
        "here": plan.precision,
        "baseline": plan.baseline_run.environment.get("precision", "float32"),
    }
    return regression.comparison_summary(comparisons, plan.compare.stem, plan.regression, precision)


def follow(plan: Plan, records: Sequence[CaseRecord], results: Json, *, interrupted: bool) -> Json:
    """Save a run as a baseline and update bounds, as the plan says.

    Args:
        plan: The plan of the run.
        records: The records of its cases.
        results: The content of ``results.json``.
        interrupted: True if the run was interrupted.

    Returns:
        The results with a report under ``followup``; their verdict is a failure if an action
        failed.
    """
    done: Json = {"saved": None, "updates": [], "unwritten": None, "problems": []}
    if plan.save is not None:
        try:
            _require_complete(
                f"baseline {plan.save!r} is not saved", results, interrupted=interrupted
            )
            done["saved"] = str(shortest(save(plan, records, results)))
        except GateError as error:
            results = failed(results, Reason.BASELINE_FAILED, str(error))
            done["problems"].append(str(error))
    if plan.update is not None:
        try:
            _require_complete("no bound is written", results, interrupted=interrupted)
            done["updates"] = update(plan, results)
            if not done["updates"]:
                every = plan.update == "all"
                done["unwritten"] = unchanged_reason(
                    plan.thresholds, results["measurements"], every=every
                )
        except GateError as error:
            results = failed(results, Reason.UPDATE_FAILED, str(error))
            done["problems"].append(str(error))
    return results | {"followup": done}


def _require_complete(consequence: str, results: Json, *, interrupted: bool) -> None:
    if interrupted:
        raise GateError(f"{consequence}: the run was interrupted; run it to its end")
    if results["reason"] == Reason.INCONSISTENT:
        raise GateError(f"{consequence}: {results['message']}")


def save(plan: Plan, records: Sequence[CaseRecord], results: Json) -> Path:
    """Save the run as a baseline.

    Raises:
        GateError: A part of the run is missing, it failed the comparison with its baseline, or
            the file cannot be written.
    """
    measurements = results["measurements"]
    missing = [
        each
        for each in measurements
        if not each["metrics"] and each["reason"] != Reason.WEIGHTS_ABSENT
    ]
    if missing or not any(each["metrics"] for each in measurements):
        raise GateError(
            f"baseline {plan.save!r} is not saved: {len(missing)} of {len(measurements)}"
            " measurements are missing; save a run of all the cases"
        )
    comparison = results["comparison"]
    if comparison and any(each["verdict"] == Verdict.FAIL for each in comparison["comparisons"]):
        # Otherwise the next run would be compared with this regression, and pass.
        raise GateError(
            f"baseline {plan.save!r} is not saved: this run failed the comparison with baseline"
            f" {comparison['baseline']}; to accept it, save it without --robustness-compare"
        )
    run = baseline_of(plan, records, results["environment"])
    return baseline_file.save(run, plan.baselines, str(plan.save))


def update(plan: Plan, results: Json) -> list[Json]:
    """Write bounds to the thresholds file; return the changed and the refused bounds.

    Raises:
        GateError: The file cannot be edited or written.
    """
    weights = {
        model["name"]: str(model["details"].get("weights_sha256") or model["fingerprint"])
        for model in results["protocol"]["models"]
    }
    stamp = Stamp(weights, datetime.now(UTC).date().isoformat())
    text, changes = updated(
        plan.thresholds, results["measurements"], stamp, every=plan.update == "all"
    )
    if any(change.done for change in changes):
        # A symbolic link is kept: its target is written.
        path = plan.thresholds.path.resolve()
        try:
            if not os.access(path, os.W_OK):
                # Replacing a read-only file would succeed.
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            write_whole(path, text.encode())
        except OSError as error:
            raise GateError(
                f"thresholds file {path} cannot be written: {error.strerror}; nothing was changed"
            ) from error
    return [encode(change) for change in changes]


def failed(results: Json, reason: Reason, message: str) -> Json:
    """Return the results with a failed follow-up as their verdict, unless they failed before."""
    if results["verdict"] == Verdict.FAIL:
        return results
    return {**results, **encode(Judgement(Verdict.FAIL, reason, message))}
