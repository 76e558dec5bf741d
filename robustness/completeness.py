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
from robustness.plan import Case, Plan
from robustness.results import Record
from robustness.thresholds import DIRECTIONS, Bound, Cell
from robustness.verdict import Verdict

COORDINATES = ("model", "pattern", "fill", "level", "direction")


def problem(plan: Plan, case: Case, record: Record) -> str:
    """What is wrong with a case's record.

    Args:
        plan: What the run was asked for.
        case: The case.
        record: As :meth:`robustness.gate.Gate.run` makes it.

    Returns:
        One line for a person; empty where nothing is.
    """
    try:
        return _problem(plan, case, record)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return f"its record is malformed ({type(error).__name__}: {error})"


def _problem(plan: Plan, case: Case, record: Record) -> str:
    cells, planned = record["cells"], plan.cells(case)
    for found, wanted in zip_longest(cells, planned):
        if found is None or wanted is None or _place(found) != _place_of(wanted):
            return f"{len(cells)} measurements are reported, {len(planned)} were planned"
    kind = plan.evalset.partition(":")[0]
    for found, wanted in zip(cells, planned, strict=True):
        Verdict(found["verdict"])
        if found["metrics"]:
            wrong = _size(found, record["protocol"]["model"])
        else:
            wrong = "nothing was measured" if found["verdict"] == Verdict.PASS else ""
        if found["verdict"] == Verdict.PASS:
            wrong = wrong or _unheld(found, plan.thresholds.bounds(wanted, kind))
        if wrong:
            return f"{wanted.fill}, {wanted.direction}: {wrong}"
    if any(found["metrics"] for found in cells):
        if [(p["fill"], p["direction"]) for p in record["curve"]] != [
            (cell.fill, cell.direction) for cell in planned
        ]:
            return "a point of its curve is missing"
        return _rankings(cells, record["ranks"]) if plan.needs_ranks else ""
    return ""


def _place(found: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(found[name] for name in COORDINATES)


def _place_of(cell: Cell) -> tuple[Any, ...]:
    return tuple(getattr(cell, name) for name in COORDINATES)


def _size(found: Record, model: Mapping[str, Any]) -> str:
    """Whether every image, or every text, was asked."""
    queries = model["images" if found["direction"] == DIRECTIONS[0] else "texts"]
    if not 0 < found["n"] == queries:
        return f"{found['n']} of {queries} queries are reported"
    return ""


def _unheld(found: Record, bounds: Sequence[Bound]) -> str:
    """Whether what passes was held against every bound that applies to it."""
    held = {bound["text"]: bound["limit"] for bound in found["bounds"]}
    if not bounds or held.keys() != {str(bound) for bound in bounds}:
        return f"it passes by {len(held)} bounds; {len(bounds)} apply"
    for bound in bounds:
        value, limit = found["metrics"].get(bound.metric, {}).get("value"), held[str(bound)]
        if value is None or limit is None or not math.isfinite(value):
            return f"{bound.metric} is not in its record, and bound {bound} is said to hold"
        if not bound.margin(value, limit) >= 0:
            return f"{bound.metric} is {value:.3f}, and bound {bound} is said to hold"
    return ""


def _rankings(cells: Sequence[Record], rankings: Sequence[Record]) -> str:
    """Whether the ranks of every query are there, for the baseline."""
    for found, ranking in zip_longest(cells, rankings):
        if (
            found is None
            or ranking is None
            or any(found[name] != ranking[name] for name in COORDINATES[1:])
        ):
            return f"{len(rankings)} rankings are reported, {len(cells)} were made"
        if len(RankCounts.of(ranking["counts"], ranking["gallery_size"])) != found["n"]:
            return f"{found['fill']}, {found['direction']}: not every query's rank is reported"
    return ""


def property_problem(record: Record) -> str:
    """What is wrong with a property's record; empty where nothing is."""
    try:
        if Verdict(record["verdict"]) is Verdict.PASS and not record["examples"] > 0:
            return "no occlusion was tried"
    except (LookupError, TypeError, ValueError) as error:
        return f"its record is malformed ({type(error).__name__}: {error})"
    return ""
