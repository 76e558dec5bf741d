"""Checks that a record contains everything that its case was planned to measure.

A record passes through fixtures that a repository may replace, so it is compared with the plan
before it counts. :meth:`robustness.records.codec.Record.from_json` has checked its structure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple
from itertools import zip_longest

from robustness._util.text import counted
from robustness.metrics import PRIMARY_CUTOFF, PRIMARY_METRIC, hit_at
from robustness.metrics.bootstrap import REPLICATES
from robustness.plan import Case, Plan
from robustness.records import (
    CaseRecord,
    MeasurementRecord,
    ModelProtocol,
    PropertyRecord,
    Queries,
    Ranking,
)
from robustness.thresholds import CHANCE, DIRECTIONS, Bound
from robustness.verdict.reasons import Judgement, Reason, Verdict

TOLERANCE = 1e-6
"""Largest difference of a metric from the one computed from the ranks reported."""


class _FaultError(Exception):
    """A fault of a record."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.judgement = Judgement(Verdict.FAIL, reason, message)


def case_fault(plan: Plan, case: Case, record: CaseRecord) -> Judgement | None:
    """Return the fault of a case's record, or None.

    Args:
        plan: The plan of the run.
        case: The case.
        record: Its record, see :meth:`robustness.run.gate.Gate.run`.
    """
    try:
        _check_measurements(plan, case, record)
        if any(measurement.metrics for measurement in record.measurements):
            protocol = _protocol(record)
            _check_curve(plan, case, record)
            if plan.needs_ranks:
                _check_rankings(record.measurements, record.ranks)
                _check_queries(record.queries, protocol.images)
    except _FaultError as fault:
        return fault.judgement
    return None


def property_fault(plan: Plan, record: PropertyRecord) -> Judgement | None:
    """Return the fault of a property's record, or None."""
    try:
        _check_excuse(plan, record, "", measured=False)
    except _FaultError as fault:
        return fault.judgement
    tried = record.examples > 0 and record.room is not None
    if record.verdict is Verdict.PASS and not tried:
        return Judgement(Verdict.FAIL, Reason.NOTHING_TRIED, "no occlusion was tried")
    return None


def malformed(error: Exception) -> Judgement:
    """Return the judgement of a record that cannot be decoded."""
    return Judgement(Verdict.FAIL, Reason.RECORD_MALFORMED, f"its record is malformed: {error}")


def _protocol(record: CaseRecord) -> ModelProtocol:
    if record.protocol is None:
        raise _FaultError(Reason.RECORD_MALFORMED, "its record is malformed: it has no protocol")
    return record.protocol.model


def _check_measurements(plan: Plan, case: Case, record: CaseRecord) -> None:
    """Require every planned measurement, whole and judged by its bounds."""
    measurements, planned = record.measurements, plan.measurements(case)
    if not measurements:
        raise _FaultError(Reason.LEVEL_MISSING, f"none of {len(planned)} measurements is reported")
    if [measurement.key for measurement in measurements] != planned:
        raise _FaultError(
            Reason.MEASUREMENT_MISSING,
            f"reported: {counted(len(measurements), 'measurement')}; planned: {len(planned)}",
        )
    kind = plan.evalset_kind
    for measurement in measurements:
        where = f"{measurement.fill}, {measurement.direction}: "
        _check_excuse(plan, measurement, where, measured=bool(measurement.metrics))
        passes = measurement.verdict is Verdict.PASS
        if measurement.metrics:
            _check_size(measurement, _protocol(record), where)
        elif passes:
            raise _FaultError(Reason.MEASUREMENT_MISSING, f"{where}nothing was measured")
        if passes:
            _check_bounds(measurement, plan.thresholds.bounds(measurement.key, kind), where)


def _check_excuse(
    plan: Plan, record: MeasurementRecord | PropertyRecord, where: str, *, measured: bool
) -> None:
    """Require the only valid excuse: an optional model without its weights."""
    if record.verdict is not Verdict.NOT_MEASURED:
        return
    absent = record.reason is Reason.WEIGHTS_ABSENT and not measured
    if not (absent and plan.models[record.model].optional):
        raise _FaultError(
            Reason.FALSE_EXCUSE,
            f"{where}reported as not measured ({record.reason}); only an optional model without"
            " its weights may be",
        )


def _check_size(record: MeasurementRecord, model: ModelProtocol, where: str) -> None:
    """Require a query for every image, or for every text."""
    queries = model.images if record.direction == DIRECTIONS[0] else model.texts
    if not 0 < record.n == queries:
        raise _FaultError(
            Reason.QUERIES_MISSING, f"{where}{record.n} of {queries} queries are reported"
        )


def _check_bounds(record: MeasurementRecord, bounds: Sequence[Bound], where: str) -> None:
    """Require that a measurement that passes meets every bound that applies to it."""
    reported = {bound.text: bound.limit for bound in record.bounds}
    if not bounds or reported.keys() != {str(bound) for bound in bounds}:
        raise _FaultError(
            Reason.BOUND_DROPPED,
            f"{where}passed by {counted(len(reported), 'bound')}; {len(bounds)} apply",
        )
    chance = {name: value for name, value in record.chance.items() if value is not None}
    for bound in bounds:
        value = record.value(bound.metric)
        # The metrics of another model are in that model's own record; all else is known here.
        local = bound.reference in {None, CHANCE}
        limit = bound.against({CHANCE: chance}) if local else reported[str(bound)]
        if value is None or limit is None or not math.isfinite(value):
            raise _FaultError(
                Reason.METRIC_MISSING,
                f"{where}{bound.metric} is missing, but bound {bound} is reported as met",
            )
        if not bound.margin(value, limit) >= 0:
            raise _FaultError(
                Reason.FALSE_PASS,
                f"{where}{bound.metric} is {value:.3f}, but bound {bound} is reported as met",
            )


def _check_curve(plan: Plan, case: Case, record: CaseRecord) -> None:
    """Require a point with all its replicates for every measurement."""
    points = [(point.fill, point.direction) for point in record.curve]
    if points != [(key.fill, key.direction) for key in plan.measurements(case)]:
        raise _FaultError(Reason.MEASUREMENT_MISSING, "a point of its curve is missing")
    if any(len(point.replicates.resampled) != REPLICATES for point in record.curve):
        raise _FaultError(Reason.MEASUREMENT_MISSING, "a point of its curve lacks replicates")


def _check_rankings(records: Sequence[MeasurementRecord], rankings: Sequence[Ranking]) -> None:
    """Require the ranks of every query, in agreement with the headline metric."""
    for record, ranking in zip_longest(records, rankings):
        if record is None or ranking is None or (record.model, *ranking.key) != astuple(record.key):
            raise _FaultError(
                Reason.RANKS_MISSING,
                f"reported: {counted(len(rankings), 'ranking')}; expected: {len(records)}",
            )
        where, counts = f"{record.fill}, {record.direction}: ", ranking.counts
        if len(counts) != record.n:
            raise _FaultError(Reason.RANKS_MISSING, f"{where}not every query's rank is reported")
        try:
            from_ranks = hit_at(counts, PRIMARY_CUTOFF)
        except (LookupError, ValueError) as error:
            raise _FaultError(Reason.RECORD_MALFORMED, f"{where}{error}") from error
        value = record.value(PRIMARY_METRIC)
        if value is None or not math.isclose(value, from_ranks, abs_tol=TOLERANCE):
            reported = "missing" if value is None else f"{value:.3f}"
            raise _FaultError(
                Reason.RANKS_CONTRADICT,
                f"{where}{PRIMARY_METRIC} is {reported}, but {from_ranks:.3f} by the ranks"
                " reported",
            )


def _check_queries(queries: Queries | None, images: int) -> None:
    """Require the patient and the text of every image."""
    if queries is None or not len(queries.patients) == len(queries.text_of_image) == images:
        raise _FaultError(
            Reason.RANKS_MISSING,
            f"patients and texts of {counted(images, 'image')} are not all reported",
        )
