"""What follows a run: it is held against a baseline, kept as one, and turned into bounds.

All of it reads the records of the cases; nothing is measured here and torch is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from robustness import baseline, regression
from robustness.errors import GateError
from robustness.files import write_whole
from robustness.occlusion import SCHEMA as OCCLUSION_SCHEMA
from robustness.plan import Plan
from robustness.results import Record, judgement_record
from robustness.thresholds import Stamp, updated
from robustness.verdict import Judgement, Reason, Verdict


def kept_run(
    plan: Plan, records: Sequence[Record], environment: Mapping[str, Any] | None = None
) -> baseline.Run:
    """The ranks of a run, as a baseline keeps them."""
    protocol = {
        "positives": plan.thresholds.positives,
        "occlusion": OCCLUSION_SCHEMA,
        "seed": plan.thresholds.seed,
    }
    return baseline.from_records(records, protocol, environment or {})


def compare(plan: Plan, records: Sequence[Record]) -> Record | None:
    """The run beside the baseline that was asked for; None where none was.

    Returns:
        The settings, and under ``cases`` one judged record a case; there is at least one, so
        that a run that compared nothing cannot pass.
    """
    if plan.compare is None:
        return None
    try:
        then = baseline.load(plan.compare)
        cases = regression.compare(kept_run(plan, records), then, plan.regression)
    except GateError as error:
        cases = [_failed(Reason.BASELINE_FAILED, str(error))]
    if not cases:
        text = f"nothing was measured that baseline {plan.compare} could be compared with"
        cases = [_failed(Reason.BASELINE_MISMATCH, text)]
    return regression.summary_of(cases, plan.compare.stem, plan.regression)


def save(plan: Plan, records: Sequence[Record], results: Record) -> Path:
    """Keeps the run as a baseline.

    Raises:
        GateError: A part of the run is missing, or the file cannot be written.
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
            write_whole(path, text.encode())
        except OSError as error:
            raise GateError(
                f"thresholds file {path} cannot be written: {error.strerror}; nothing was changed"
            ) from error
    return [{"done": change.done, "text": change.text} for change in changes]


def failed(results: Record, reason: Reason, message: str) -> Record:
    """The results of a run that failed in what follows it, unless it had failed before."""
    if results["verdict"] == Verdict.FAIL:
        return results
    return results | _failed(reason, message)


def _failed(reason: Reason, message: str) -> Record:
    return judgement_record(Judgement(Verdict.FAIL, reason, message))
