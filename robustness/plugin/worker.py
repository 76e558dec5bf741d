"""Attach case records to pytest reports, so that they reach the xdist controller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from robustness.plugin.collection import case_name, is_gate_item, is_suite_item, uses_gate
from robustness.plugin.frames import user_frames
from robustness.plugin.options import plan_of

if TYPE_CHECKING:
    from robustness.plan import Plan
    from robustness.records import AnyRecord, Json
    from robustness.run.gate import Gate

_RECORD: pytest.StashKey[tuple[AnyRecord, Json]] = pytest.StashKey()
"""The record, and its JSON with the activity of the process."""

_ERROR: pytest.StashKey[str] = pytest.StashKey()


def keep(item: pytest.Item, gate: Gate, record: AnyRecord) -> None:
    """Keep a case's record, with the activity of its process, until its report is made.

    Raises:
        TypeError: This is not a record of a planned case or property.
    """
    from robustness.records import PropertyRecord

    try:
        planned = _is_planned(plan_of(item.config), record)
        kind = "property" if isinstance(record, PropertyRecord) else "case"
        message = {kind: record.to_json()} if planned else {}
    except (LookupError, TypeError, AttributeError):
        message = {}
    if not message:
        raise TypeError(
            "robustness_record takes the record of a planned case, as robustness_gate.run(case)"
            " returns it, or that of a property search; this is neither"
        )
    item.stash[_RECORD] = record, {**message, "activity": gate.activity().to_json()}


def _is_planned(plan: Plan, record: object) -> bool:
    from robustness.plan import PROPERTIES
    from robustness.records import CaseRecord, MeasurementRecord, PropertyRecord

    if isinstance(record, PropertyRecord):
        return record.model in plan.models and record.property in PROPERTIES
    return (
        isinstance(record, CaseRecord)
        and record.case in {case.id for case in plan.cases}
        and all(isinstance(each, MeasurementRecord) for each in record.measurements)
    )


def shorten(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Cut a case's traceback to the frames of user code, unless ``--full-trace`` is set."""
    full = item.config.getoption("fulltrace", default=False)
    if call.excinfo is not None and is_suite_item(item) and not full:
        call.excinfo.traceback = user_frames(call.excinfo.traceback)


def attach(item: pytest.Item, call: pytest.CallInfo[None], report: Any) -> None:
    """Attach a case's record to its report, as JSON: xdist serialises plain values only.

    Args:
        item: The test.
        call: Its setup, its call or its teardown.
        report: The ``pytest.TestReport`` of that call.
    """
    if uses_gate(item):
        report.robustness_measures = True
    if not (is_gate_item(item) and isinstance(item, pytest.Function)):
        return
    from robustness.records import error_line, fails
    from robustness.report import case_properties

    report.robustness_name = case_name(item)
    record, message = item.stash.get(_RECORD, (None, None))
    if report.failed and not (record and fails(record)):
        item.stash[_ERROR] = error_line(call)
    report.robustness_broken = item.stash.get(_ERROR, "")
    if call.when == "call":
        report.robustness_record = message
    if call.when != "setup" and (record or report.robustness_broken):
        # JUnit reads the last of a case's reports.
        report.user_properties += case_properties(None if report.robustness_broken else record)
