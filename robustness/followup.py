"""What follows a run: it is held against a baseline, kept as one, and turned into bounds.

All of it reads the records of the cases; nothing is measured here and torch is not needed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from robustness import baseline, regression
from robustness.errors import GateError
from robustness.files import shortest, write_whole
from robustness.plan import Plan
from robustness.reasons import Judgement, Reason, Verdict
from robustness.results import Record, judgement_record
from robustness.thresholds import Stamp, unchanged_reason, updated


def kept_run(
    plan: Plan, records: Sequence[Record], environment: Mapping[str, Any] | None = None
) -> baseline.Run:
    """The ranks of a run, as a baseline keeps them."""
    # The precision is not of the protocol: a release may change it, and is held against the last.
    beside = {"evalset": plan.evalset, "precision": plan.precision}
    return baseline.from_records(records, plan.protocol, {**(environment or {}), **beside})


def compare(plan: Plan, records: Sequence[Record]) -> Record | None:
    """The run beside the baseline that was asked for; None where none was.

    Returns:
        The settings, and under ``cases`` one judged record a case; there is at least one, so
        that a run that compared nothing cannot pass.
    """
    if plan.compare is None or plan.baseline_run is None:
        return None
    cases = regression.compare(kept_run(plan, records), plan.baseline_run, plan.regression)
    if not cases:
        text = f"nothing was measured that baseline {plan.compare} could be compared with"
        cases = [_failed(Reason.BASELINE_MISMATCH, text)]
    # Baselines that do not say were kept when there was float32 alone.
    precision = {
        "here": plan.precision,
        "baseline": plan.baseline_run.environment.get("precision", "float32"),
    }
    return regression.comparison_summary(cases, plan.compare.stem, plan.regression, precision)


def follow(plan: Plan, records: Sequence[Record], results: Record, *, interrupted: bool) -> Record:
    """Keeps a run as a baseline and writes bounds, where that was asked for.

    Args:
        plan: What the run was asked for.
        records: Of its cases.
        results: What it found, as ``results.json`` will have it.
        interrupted: Whether it was ended before its end.

    Returns:
        The results with what was done, under ``followup``; with a failure as their verdict
        where something was not.
    """
    done: Record = {"saved": None, "updates": [], "unwritten": None, "problems": []}
    if plan.save is not None:
        try:
            _require_whole(f"baseline {plan.save!r} is not saved", results, interrupted=interrupted)
            done["saved"] = str(shortest(save(plan, records, results)))
        except GateError as error:
            results = failed(results, Reason.BASELINE_FAILED, str(error))
            done["problems"].append(str(error))
    if plan.update is not None:
        try:
            _require_whole("no bound is written", results, interrupted=interrupted)
            done["updates"] = update(plan, results)
            if not done["updates"]:
                every = plan.update == "all"
                done["unwritten"] = unchanged_reason(plan.thresholds, results["cases"], every=every)
        except GateError as error:
            results = failed(results, Reason.UPDATE_FAILED, str(error))
            done["problems"].append(str(error))
    return results | {"followup": done}


def _require_whole(what: str, results: Record, *, interrupted: bool) -> None:
    if interrupted:
        raise GateError(f"{what}: the run was interrupted; run it to its end")
    if results["reason"] == Reason.INCONSISTENT:
        raise GateError(f"{what}: {results['message']}")


def save(plan: Plan, records: Sequence[Record], results: Record) -> Path:
    """Keeps the run as a baseline.

    Raises:
        GateError: A part of the run is missing, it failed beside the baseline it was held
            against, or the file cannot be written.
    """
    missing = [
        case
        for case in results["cases"]
        if not case["metrics"] and case["reason"] != Reason.WEIGHTS_ABSENT
    ]
    if missing or not any(case["metrics"] for case in results["cases"]):
        raise GateError(
            f"baseline {plan.save!r} is not saved: {len(missing)} of {len(results['cases'])}"
            " measurements are missing; save a run of all the cases"
        )
    compared = results["comparison"]
    if compared and any(case["verdict"] == Verdict.FAIL for case in compared["cases"]):
        # Else the next run would be held against what this one lost, and pass.
        raise GateError(
            f"baseline {plan.save!r} is not saved: this run failed beside baseline"
            f" {compared['baseline']}; to accept it, save it without --robustness-compare"
        )
    run = kept_run(plan, records, results["environment"])
    return baseline.save(run, plan.baselines, str(plan.save))


def update(plan: Plan, results: Record) -> list[Record]:
    """Writes bounds to the thresholds file; says what it changed and what it refused.

    Raises:
        GateError: The file cannot be edited or written.
    """
    weights = {
        model["name"]: str(model["details"].get("weights_sha256") or model["fingerprint"])
        for model in results["protocol"]["models"]
    }
    stamp = Stamp(weights, datetime.now(UTC).date().isoformat())
    text, changes = updated(plan.thresholds, results["cases"], stamp, every=plan.update == "all")
    if any(change.done for change in changes):
        # A link stays a link: what it points to is written.
        path = plan.thresholds.path.resolve()
        try:
            if not os.access(path, os.W_OK):
                # A file that is to stay as it is could be replaced still.
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            write_whole(path, text.encode())
        except OSError as error:
            raise GateError(
                f"thresholds file {path} cannot be written: {error.strerror}; nothing was changed"
            ) from error
    return [asdict(change) for change in changes]


def failed(results: Record, reason: Reason, message: str) -> Record:
    """The results of a run that failed in what follows it, unless it had failed before."""
    if results["verdict"] == Verdict.FAIL:
        return results
    return results | _failed(reason, message)


def _failed(reason: Reason, message: str) -> Record:
    return judgement_record(Judgement(Verdict.FAIL, reason, message))
