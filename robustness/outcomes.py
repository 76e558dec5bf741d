"""What pytest's report of a case takes along to the process that reports the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from robustness.collection import case_name, is_gate_item, is_suite_item, uses_gate
from robustness.frames import user_frames
from robustness.options import plan_of

if TYPE_CHECKING:
    from robustness.gate import Gate
    from robustness.plan import Plan
    from robustness.results import Record

_SAID = {"verdict", "reason", "message"}
_OF_CELL = {"fill", "direction", "metrics", *_SAID}
_OF_PROPERTY = {"model", "property", "occlusion", "examples", "room", *_SAID}

_RECORD: pytest.StashKey[Record] = pytest.StashKey()
_BROKEN: pytest.StashKey[str] = pytest.StashKey()


def keep(item: pytest.Item, gate: Gate, record: Record) -> None:
    """Keeps a case's record, with what its process did so far, until its report is made.

    Raises:
        TypeError: It is of no planned case, or nothing that could be told.
    """
    if not _of_plan(plan_of(item.config), record):
        raise TypeError(
            "robustness_record takes the record of a planned case, as robustness_gate.run(case)"
            " makes it, or {'property': RECORD} of a search; this is neither"
        )
    item.stash[_RECORD] = record | {"activity": gate.activity()}


def _of_plan(plan: Plan, record: Record) -> bool:
    """Whether a record names a case or property of the plan, and has what every report reads."""
    from robustness.plan import PROPERTIES

    try:
        if "property" in record:
            mine = record["property"]
            known = mine["model"] in plan.models and mine["property"] in PROPERTIES
            return known and mine.keys() >= _OF_PROPERTY
        known = record["case"] in {case.id for case in plan.cases}
        return known and all(cell.keys() >= _OF_CELL for cell in record["cells"])
    except (LookupError, TypeError, AttributeError):
        return False


def shorten(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Has the error of a case shown from a user's code on, unless all of it was asked for."""
    whole = item.config.getoption("fulltrace", default=False)
    if call.excinfo is not None and is_suite_item(item) and not whole:
        call.excinfo.traceback = user_frames(call.excinfo.traceback)


def tell(item: pytest.Item, call: pytest.CallInfo[None], report: Any) -> None:
    """Adds to a report what the results are made of; it crosses xdist's processes.

    Args:
        item: The test.
        call: Its setup, its call or its teardown.
        report: The ``pytest.TestReport`` of that.
    """
    if uses_gate(item):
        report.robustness_measures = True
    if not (is_gate_item(item) and isinstance(item, pytest.Function)):
        return
    from robustness.report import case_properties
    from robustness.results import fails, said_of

    report.robustness_name = case_name(item)
    record = item.stash.get(_RECORD, None)
    if report.failed and not (record and fails(record)):
        item.stash[_BROKEN] = said_of(call)
    report.robustness_broken = item.stash.get(_BROKEN, "")
    if call.when == "call":
        report.robustness_record = record
    if call.when != "setup" and (record or report.robustness_broken):
        # Of these reports, JUnit reads the last.
        told = None if report.robustness_broken else record
        report.user_properties += case_properties(told)
