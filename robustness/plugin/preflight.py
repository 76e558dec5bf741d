"""Pre-run checks: end with exit status 4 if the run cannot succeed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from robustness._util.environment import other_owners
from robustness._util.files import shortest
from robustness._util.text import counted
from robustness.errors import Code, GateError, StoreError, UsageError
from robustness.plugin.collection import is_gate_item, plan_error, uses_gate
from robustness.plugin.controller import ABORT_KEY
from robustness.plugin.options import folder, known_plan, non_default_options, plan_of, usage_error
from robustness.plugin.selection import is_listing, runs_tests, selects_marker

if TYPE_CHECKING:
    from robustness.plan import Plan


def read_plan(config: pytest.Config) -> None:
    """Read the plan early if the gate is selected or one of its options is given.

    Raises:
        pytest.UsageError: An option or the thresholds file is invalid.
    """
    if is_listing(config):
        return
    gate = selects_marker(config, "robustness")
    if not (gate or non_default_options(config)):
        return
    try:
        require_import_name()
        plan_of(config)
    except pytest.UsageError:
        if gate:
            _delete_stale_results(config)
        raise


def require_import_name() -> None:
    """Check that no other installed distribution contains a package named ``robustness``.

    Raises:
        pytest.UsageError: There is one.
    """
    others = other_owners("robustness", "robustness-gate")
    if others:
        raise usage_error(
            UsageError(
                f"{', '.join(others)} installs a package named 'robustness', as robustness-gate"
                f" does, and overwrites its files; run: pip uninstall -y {others[0].split()[0]}"
                " robustness-gate && pip install robustness-gate",
                Code.IMPORT_NAME_SHARED,
            )
        )


def header(config: pytest.Config) -> list[str]:
    """Return the report header lines; none if no plan was read."""
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
    """Check that collected gate cases have a plan.

    Raises:
        pytest.UsageError: The plan could not be read.
    """
    error = plan_error(config)
    if error is not None and any(map(uses_gate, items)):
        _abort(config, items, error)


def check_run(session: pytest.Session) -> None:
    """Check, before the first case, for a cause that would make every case fail.

    Raises:
        pytest.UsageError: The run cannot succeed.
    """
    if not runs_tests(session.config) or not any(map(uses_gate, session.items)):
        return
    try:
        check(plan_of(session.config))
    except GateError as error:
        _abort(session.config, session.items, usage_error(error))


def check(plan: Plan) -> None:
    """Check the store and the device.

    Creates the store's folder if it is missing; imports torch only if a device is named.

    Raises:
        StoreError: The store's folder cannot be created or written to.
        UsageError: The device is not available.
    """
    from robustness.embedding.devices import require_device

    require_store(plan.store)
    require_device(plan.device)


def require_store(root: Path) -> None:
    """Check that the store's folder exists, or can be created, and is writable.

    Raises:
        StoreError: It is not.
    """
    from robustness.embedding import Store

    root = shortest(root)
    Store(root)
    try:
        # Permission bits are not enough: the file system may be read-only, and root ignores them.
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise StoreError(
            f"store {root} cannot be written to: {error.strerror}; name another folder with"
            " --robustness-store"
        ) from error


def _abort(
    config: pytest.Config, items: Sequence[pytest.Item], error: pytest.UsageError
) -> NoReturn:
    """End the run with exit status 4; an xdist worker does so through its controller."""
    if any(map(is_gate_item, items)):
        _delete_stale_results(config)
    if hasattr(config, "workeroutput"):
        config.workeroutput[ABORT_KEY] = str(error)
    raise error


def _delete_stale_results(config: pytest.Config) -> None:
    """Delete the results of an earlier run."""
    from robustness.report import remove

    if runs_tests(config):
        remove(folder(config, "report"))
