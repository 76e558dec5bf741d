"""Worker side of a run: the gate of this process, and case records attached to pytest reports."""

from __future__ import annotations

import gc
import os
import sysconfig
from collections.abc import Iterator
from contextlib import AbstractContextManager, chdir, contextmanager, nullcontext
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from robustness._util.progress import terminal_of
from robustness._util.threads import wait_briefly
from robustness.plugin.collection import case_name, is_gate_item, is_suite_item, uses_gate
from robustness.plugin.options import plan_of

if TYPE_CHECKING:
    from _pytest._code import Traceback

    from robustness.plan import Plan
    from robustness.records import AnyRecord
    from robustness.records.codec import Json
    from robustness.run.gate import Gate

_RECORD: pytest.StashKey[tuple[AnyRecord, Json]] = pytest.StashKey()
"""The record, and its JSON with the activity of the process."""

_ERROR: pytest.StashKey[str] = pytest.StashKey()

MAX_ERROR_LENGTH = 200

_PACKAGE = Path(__file__).parents[1]
_LIBRARIES = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]


@contextmanager
def open_gate(config: pytest.Config) -> Iterator[Gate]:
    """Provide the gate of this process, which loads models and the evaluation set once.

    Raises:
        pytest.UsageError: An option or the thresholds file is invalid.
    """
    from robustness._util.profile import STARTING, Profile

    wait_briefly()
    profile = Profile()
    with profile.phase(STARTING):
        from robustness.embedding.devices import measuring
        from robustness.run.gate import Gate

        # Imported modules live as long as the process; the collector need not scan them again.
        frozen_before = gc.get_freeze_count()
        gc.freeze()
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    try:
        with measuring(workers):
            yield Gate(plan_of(config), stream=terminal_of(config), profile=profile)
    finally:
        if not frozen_before:
            gc.unfreeze()


def in_invocation_dir(item: pytest.Item) -> AbstractContextManager[None]:
    """Change to the invocation directory so that relative paths resolve as given.

    A repository's own fixtures may have changed the working directory.
    """
    return chdir(item.config.invocation_params.dir) if is_suite_item(item) else nullcontext()


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
    from robustness.report import case_properties

    report.robustness_name = case_name(item)
    record, message = item.stash.get(_RECORD, (None, None))
    if report.failed and not (record and record.failed):
        item.stash[_ERROR] = _error_line(call)
    report.robustness_broken = item.stash.get(_ERROR, "")
    if call.when == "call":
        report.robustness_record = message
    if call.when != "setup" and (record or report.robustness_broken):
        # JUnit reads the last of a case's reports.
        report.user_properties += case_properties(None if report.robustness_broken else record)


def user_frames(traceback: Traceback) -> Traceback:
    """Return the traceback from the first frame of the user's code that the gate calls.

    Frames of the gate and of libraries before it, such as decorators, are dropped.

    Args:
        traceback: The whole traceback, from the test runner on.

    Returns:
        The whole traceback if it has no frame of the user's code: the error is then the
        gate's or a library's.
    """
    case = dropwhile(lambda entry: not _in_gate(entry), traceback)
    user = next(dropwhile(lambda entry: _in_gate(entry) or _in_library(entry), case), None)
    return traceback if user is None else traceback.cut(path=user.path)


def _in_gate(entry: Any) -> bool:
    return Path(entry.path).is_relative_to(_PACKAGE)


def _in_library(entry: Any) -> bool:
    return any(Path(entry.path).is_relative_to(folder) for folder in _LIBRARIES)


def _error_line(call: pytest.CallInfo[None]) -> str:
    """Return the error that ended a case, in one line."""
    if call.excinfo is None:
        return "an error"
    text = " ".join(str(call.excinfo.value).split())
    if len(text) > MAX_ERROR_LENGTH:
        text = f"{text[: MAX_ERROR_LENGTH - 3]}..."
    return f"{call.excinfo.typename}: {text}" if text else call.excinfo.typename
