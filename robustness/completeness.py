"""Whether a record holds all that its case was planned to measure.

A record crosses processes and passes through fixtures that a repository may replace, so what
it says is held against the plan before it counts: a measurement that is not there, or was
never held against its bounds, is none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from robustness.counts import RankCounts
from robustness.metrics import PRIMARY_CUTOFF, PRIMARY_METRIC, hit_at
from robustness.plan import Case, Plan
from robustness.reasons import Judgement, Reason, Verdict
from robustness.results import Record, judgement_of
from robustness.statistics import REPLICATES
from robustness.thresholds import CHANCE, DIRECTIONS, Bound, Cell
from robustness.wording import counted

COORDINATES = ("model", "pattern", "fill", "level", "direction")


def problem(plan: Plan, case: Case, record: Record) -> Judgement | None:
    """What is wrong with a case's record.

    Args:
        plan: What the run was asked for.
        case: The case.
        record: As :meth:`robustness.gate.Gate.run` makes it.

    Returns:
        A failure with its reason; nothing where nothing is wrong.
    """
    try:
        _see_cells(plan, case, record)
        if any(found["metrics"] for found in record["cells"]):
            _see_curve(plan, case, record)
            if plan.needs_ranks:
                _see_rankings(record["cells"], record["ranks"])
                _see_queries(record["queries"], record["protocol"]["model"]["images"])
    except _WrongError as wrong:
        return wrong.judgement
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return _malformed(error)
    return None


class _WrongError(Exception):
    """A record lacks something; says what."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.judgement = Judgement(Verdict.FAIL, reason, message)


def _malformed(error: Exception) -> Judgement:
    message = f"its record is malformed ({type(error).__name__}: {error})"
    return Judgement(Verdict.FAIL, Reason.RECORD_MALFORMED, message)


def _see_cells(plan: Plan, case: Case, record: Record) -> None:
    """Whether every measurement is there, whole, and held against its bounds."""
    cells, planned = record["cells"], plan.cells(case)
    if not cells:
        raise _WrongError(Reason.LEVEL_MISSING, f"none of {len(planned)} measurements is reported")
    for found, wanted in zip_longest(cells, planned):
        if found is None or wanted is None or _place(found) != _place_of(wanted):
            raise _WrongError(
                Reason.MEASUREMENT_MISSING,
                f"reported: {counted(len(cells), 'measurement')}; planned: {len(planned)}",
            )
    kind = plan.evalset_kind
    for found, wanted in zip(cells, planned, strict=True):
        where = f"{wanted.fill}, {wanted.direction}"
        _see_excuse(plan, found, found["metrics"], where)
        passes = Verdict(found["verdict"]) is Verdict.PASS
        if found["metrics"]:
            _see_size(found, record["protocol"]["model"], where)
        elif passes:
            raise _WrongError(Reason.MEASUREMENT_MISSING, f"{where}: nothing was measured")
        if passes:
            _see_bounds(found, plan.thresholds.bounds(wanted, kind), where)


def _see_excuse(plan: Plan, found: Record, measured: Mapping[str, Any], where: str) -> None:
    """Whether what is said not to be measured may be: an optional model without its weights."""
    if judgement_of(found).verdict is not Verdict.NOT_MEASURED:
        return
    absent = found["reason"] == Reason.WEIGHTS_ABSENT and not measured
    if not (absent and plan.models[found["model"]].optional):
        raise _WrongError(
            Reason.FALSE_EXCUSE,
            f"{where}: it is said not to be measured ({found['reason']}); only an optional model"
            " without its weights need not be",
        )


def _place(found: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(found[name] for name in COORDINATES)


def _place_of(cell: Cell) -> tuple[Any, ...]:
    return tuple(getattr(cell, name) for name in COORDINATES)


def _see_size(found: Record, model: Mapping[str, Any], where: str) -> None:
    """Whether every image, or every text, was asked."""
    queries = model["images" if found["direction"] == DIRECTIONS[0] else "texts"]
    if not 0 < found["n"] == queries:
        raise _WrongError(
            Reason.QUERIES_MISSING, f"{where}: {found['n']} of {queries} queries are reported"
        )


def _see_bounds(found: Record, bounds: Sequence[Bound], where: str) -> None:
    """Whether what passes was held against every bound that applies to it."""
    held = {bound["text"]: bound["limit"] for bound in found["bounds"]}
    if not bounds or held.keys() != {str(bound) for bound in bounds}:
        raise _WrongError(
            Reason.BOUND_DROPPED,
            f"{where}: it passes by {counted(len(held), 'bound')}; {len(bounds)} apply",
        )
    for bound in bounds:
        value = found["metrics"].get(bound.metric, {}).get("value")
        # What another model has is in that model's own record; all else is known here.
        known = bound.reference in {None, CHANCE}
        limit = bound.against({CHANCE: found["chance"]}) if known else held[str(bound)]
        if value is None or limit is None or not math.isfinite(value):
            raise _WrongError(
                Reason.METRIC_MISSING,
                f"{where}: {bound.metric} is not in its record, and bound {bound} is said to hold",
            )
        if not bound.margin(value, limit) >= 0:
            raise _WrongError(
                Reason.FALSE_PASS,
                f"{where}: {bound.metric} is {value:.3f}, and bound {bound} is said to hold",
            )


def _see_curve(plan: Plan, case: Case, record: Record) -> None:
    """Whether every measurement has its point."""
    points = [(point["fill"], point["direction"]) for point in record["curve"]]
    if points != [(cell.fill, cell.direction) for cell in plan.cells(case)]:
        raise _WrongError(Reason.MEASUREMENT_MISSING, "a point of its curve is missing")
    if any(len(point["resampled"]) != REPLICATES for point in record["curve"]):
        raise _WrongError(Reason.MEASUREMENT_MISSING, "a point of its curve lacks resamples")


def _see_rankings(cells: Sequence[Record], rankings: Sequence[Record]) -> None:
    """Whether the ranks of every query are there, for the baseline."""
    for found, ranking in zip_longest(cells, rankings):
        if (
            found is None
            or ranking is None
            or any(found[name] != ranking[name] for name in COORDINATES[1:])
        ):
            raise _WrongError(
                Reason.RANKS_MISSING,
                f"reported: {counted(len(rankings), 'ranking')}; made: {len(cells)}",
            )
        where = f"{found['fill']}, {found['direction']}"
        counts = RankCounts.of(ranking["counts"], ranking["gallery_size"])
        if len(counts) != found["n"]:
            raise _WrongError(Reason.RANKS_MISSING, f"{where}: not every query's rank is reported")
        told, known = found["metrics"][PRIMARY_METRIC]["value"], hit_at(counts, PRIMARY_CUTOFF)
        if not math.isclose(told, known, abs_tol=1e-6):
            raise _WrongError(
                Reason.RANKS_CONTRADICT,
                f"{where}: {PRIMARY_METRIC} is {told:.3f}, and {known:.3f} by the ranks reported",
            )


def _see_queries(queries: Mapping[str, Any], images: int) -> None:
    """Whether it is known of every image whose it is and which text it came with."""
    if not len(queries["patients"]) == len(queries["text_of_image"]) == images:
        raise _WrongError(
            Reason.RANKS_MISSING,
            f"patients and texts of {counted(images, 'image')} are not all reported",
        )


def property_problem(plan: Plan, record: Record) -> Judgement | None:
    """What is wrong with a property's record; nothing where nothing is."""
    try:
        _see_excuse(plan, record, {}, record["property"])
        tried = record["examples"] > 0 and record["room"] is not None
        if Verdict(record["verdict"]) is Verdict.PASS and not tried:
            return Judgement(Verdict.FAIL, Reason.NOTHING_TRIED, "no occlusion was tried")
    except _WrongError as wrong:
        return wrong.judgement
    except (LookupError, TypeError, ValueError) as error:
        return _malformed(error)
    return None
