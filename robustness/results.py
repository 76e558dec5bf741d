"""What cases report: plain values that travel between processes and into files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from robustness.plan import Plan
from robustness.reasons import Judgement, Reason, Verdict
from robustness.statistics import Estimate
from robustness.thresholds import Bound, Cell, References

if TYPE_CHECKING:
    from robustness.counts import RankCounts
    from robustness.evalset import EvaluationSet
    from robustness.measure import Measurement, Subject

Record = dict[str, Any]
"""JSON values alone: a record crosses from an xdist worker to its controller."""


def number(value: float) -> float | None:
    """A number as JSON can hold it: what is unknown or without end becomes null."""
    return float(value) if math.isfinite(value) else None


def estimate_record(estimate: Estimate) -> Record:
    """An estimate as ``{value, low, high}``."""
    return {
        "value": number(estimate.value),
        "low": number(estimate.low),
        "high": number(estimate.high),
    }


def judgement_record(judgement: Judgement) -> Record:
    """A judgement as ``{verdict, reason, message}``."""
    return {
        "verdict": str(judgement.verdict),
        "reason": str(judgement.reason),
        "message": judgement.message,
    }


def judgement_of(record: Mapping[str, Any]) -> Judgement:
    """The judgement in a record."""
    return Judgement(Verdict(record["verdict"]), Reason(record["reason"]), record["message"])


def fails(record: Mapping[str, Any]) -> bool:
    """Whether a case's record holds a failure: its property's, or one of its cells'."""
    items = [record["property"]] if "property" in record else record["cells"]
    return any(item["verdict"] == Verdict.FAIL for item in items)


def said_of(call: Any) -> str:
    """The error that ended a case, in one line.

    Args:
        call: A ``pytest.CallInfo``.
    """
    if call.excinfo is None:
        return "an error"
    text = " ".join(str(call.excinfo.value).split())
    return f"{call.excinfo.typename}: {shortened(text)}" if text else str(call.excinfo.typename)


def shortened(text: str, most: int = 200) -> str:
    """A text, cut where it is longer than what a line should hold."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def bound_record(bound: Bound, references: References) -> Record:
    """A bound, with its limit as a number where what it refers to is known."""
    return {
        "text": str(bound),
        "metric": bound.metric,
        "operator": ">=" if bound.at_least else "<=",
        "limit": number(bound.against(references)),
        "reference": bound.reference,
        "line": bound.line,
    }


def cell_record(plan: Plan, cell: Cell, bounds: tuple[Bound, ...], judgement: Judgement) -> Record:
    """A cell that holds no measurement (yet)."""
    return {
        "model": cell.model,
        "evalset": plan.evalset,
        "pattern": cell.pattern,
        "fill": cell.fill,
        "level": cell.level,
        "seed": plan.thresholds.seed,
        "direction": cell.direction,
        "n": 0,
        "labelled": 0,
        "metrics": {},
        "chance": {},
        "hidden": None,
        "bounds": [bound_record(bound, {}) for bound in bounds],
        **judgement_record(judgement),
    }


def curve_record(cell: Cell, measurement: Measurement) -> Record:
    """A cell's point of its degradation curve, as the controller needs it."""
    # Rounded: replicates are shipped between processes for their spread alone.
    return {
        "fill": cell.fill,
        "direction": cell.direction,
        "value": measurement.headline.value,
        "resampled": [round(float(value), 6) for value in measurement.headline.resampled],
    }


def ranking_record(cell: Cell, counts: RankCounts) -> Record:
    """The ranks of every query of a cell."""
    return {
        **{part: getattr(cell, part) for part in ("pattern", "fill", "level", "direction")},
        "counts": {name: array.tolist() for name, array in counts.arrays().items()},
        "gallery_size": counts.gallery_size,
    }


def protocol_record(plan: Plan, model: str, evalset: EvaluationSet, subject: Subject) -> Record:
    """What a model's measurements rest on, beside the plan.

    Args:
        plan: What the run was asked for.
        model: The model's name in it.
        evalset: The whole set.
        subject: The model on what it can read of the set.
    """
    entry, encoder = plan.models[model], subject.encoder
    excluded = dict(evalset.excluded_by_reason)
    for exclusion in subject.excluded:
        excluded[exclusion.reason] = excluded.get(exclusion.reason, 0) + 1
    return {
        "evalset": {
            "spec": plan.evalset,
            "fingerprint": evalset.fingerprint,
            "images": len(evalset),
            "studies": len({pair.study_id for pair in evalset.pairs}),
            "patients": len({pair.patient_id for pair in evalset.pairs}),
            "excluded": evalset.excluded_by_reason,
            "misnamed": evalset.misnamed,
        },
        "model": {
            "name": model,
            "loader": entry.loader,
            "fingerprint": encoder.fingerprint,
            "embedding_dim": encoder.embedding_dim,
            "text_policy": asdict(encoder.text_policy),
            "options": entry.options,
            "details": encoder.details,
            "images": len(subject.evalset),
            "texts": len(subject.matching.texts),
            "excluded": excluded,
        },
    }
