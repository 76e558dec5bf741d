"""What is seen to before the first case: that a run can measure; one that cannot is refused."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from robustness.asked import asked_for, listing, runs
from robustness.collection import judged, measures, plan_error
from robustness.errors import GateError, StoreError
from robustness.files import shortest
from robustness.options import folder, given, known_plan, plan_of, refused
from robustness.reporter import REFUSED
from robustness.wording import counted

if TYPE_CHECKING:
    from robustness.plan import Plan


def read_plan(config: pytest.Config) -> None:
    """Reads the plan at once where the gate, or an option of it, is asked for.

    Raises:
        pytest.UsageError: What is asked for is malformed or unknown.
    """
    if listing(config):
        return
    gate = asked_for(config, "robustness")
    if not (gate or given(config)):
        return
    try:
        plan_of(config)
    except pytest.UsageError:
        if gate:
            _forget(config)
        raise


def header(config: pytest.Config) -> list[str]:
    """What the gate will measure, in lines for a person; none where it was not asked for."""
    plan = known_plan(config)
    if plan is None:
        return []
    line = (
        f"robustness: {', '.join(plan.models)} on {plan.evalset},"
        f" {counted(len(plan.cases), 'case')}, device {plan.device}, {plan.precision},"
        f" thresholds {plan.thresholds.path}"
    )
    return [line]


def check_collection(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Refuses to run cases whose plan could not be read.

    Raises:
        pytest.UsageError: There are such.
    """
    error = plan_error(config)
    if error is not None and any(map(measures, items)):
        _refuse(config, items, error)


def check_run(session: pytest.Session) -> None:
    """Refuses a run whose every case would fail for one cause, before the first of them.

    Raises:
        pytest.UsageError: It cannot be.
    """
    if not runs(session.config) or not any(map(measures, session.items)):
        return
    try:
        check(plan_of(session.config))
    except GateError as error:
        _refuse(session.config, session.items, refused(error))


def check(plan: Plan) -> None:
    """Refuses what would make every case of a run fail for one and the same cause.

    Makes the store's folder where it is missing; imports torch only where a device is named.

    Raises:
        StoreError: The store's folder cannot be made or written to.
        UsageError: The device is not on this machine.
    """
    from robustness.devices import require_device

    require_store(plan.store)
    require_device(plan.device)


def require_store(root: Path) -> None:
    """Sees that a store's folder can be made and written to.

    Raises:
        StoreError: It cannot.
    """
    from robustness.embedding import Store

    root = shortest(root)
    Store(root)
    try:
        # Its mode does not tell: a file system may be read-only, and root passes any mode.
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise StoreError(
            f"store {root} cannot be written to: {error.strerror}; name another folder with"
            " --robustness-store"
        ) from error


def _refuse(
    config: pytest.Config, items: Sequence[pytest.Item], error: pytest.UsageError
) -> NoReturn:
    """Ends the run with exit status 4; out of an xdist worker by way of its controller."""
    if any(map(judged, items)):
        _forget(config)
    if hasattr(config, "workeroutput"):
        config.workeroutput[REFUSED] = str(error)
    raise error


def _forget(config: pytest.Config) -> None:
    """Leaves no verdict of an earlier run beside a run that cannot be."""
    from robustness.report import forget

    if runs(config):
        forget(folder(config, "report"))
