"""Parametrisation from the plan, and classification of collected items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

import pytest

from robustness.plugin.options import plan_of

if TYPE_CHECKING:
    from robustness.plan import Plan

GATE_FIXTURES = frozenset({"robustness_case", "robustness_model", "robustness_gate"})
"""Fixtures of items that load models or the evaluation set."""

_PLAN_ERROR: pytest.StashKey[pytest.UsageError] = pytest.StashKey()


def parametrise(metafunc: pytest.Metafunc) -> None:
    """Parametrise a test from the plan; generate no case if the plan is invalid.

    The error is kept for :func:`plan_error`.
    """
    names = set(metafunc.fixturenames)
    if not names & {"robustness_case", "robustness_model"}:
        return
    try:
        plan: Plan | None = plan_of(metafunc.config)
    except pytest.UsageError as error:
        metafunc.config.stash[_PLAN_ERROR] = error
        plan = None
    if "robustness_case" in names:
        cases = plan.cases if plan else []
        metafunc.parametrize("robustness_case", cases, ids=[case.id for case in cases])
    if "robustness_model" in names:
        metafunc.parametrize("robustness_model", list(plan.models) if plan else [])
    if "robustness_property" in names:
        from robustness.plan import PROPERTIES

        metafunc.parametrize("robustness_property", list(PROPERTIES))


def plan_error(config: pytest.Config) -> pytest.UsageError | None:
    """Return the error that prevented the plan from being read, if any."""
    return config.stash.get(_PLAN_ERROR, None)


def uses_gate(item: pytest.Item) -> bool:
    """Return True if the item loads models or the evaluation set."""
    return not GATE_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def is_gate_item(item: pytest.Item) -> bool:
    """Return True if the item counts towards the verdict.

    The marker alone is not enough: another plugin may use the same name.
    """
    return item.get_closest_marker("robustness") is not None and uses_gate(item)


def case_name(item: pytest.Function) -> str:
    """Return the case's name in the plan; an item's id may contain other parameters too."""
    parameters: Mapping[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    if "robustness_case" in parameters:
        return str(parameters["robustness_case"].id)
    if "robustness_property" in parameters:
        return f"{parameters['robustness_model']}-{parameters['robustness_property']}"
    return item.name


def is_suite_item(item: pytest.Item) -> TypeGuard[pytest.Function]:
    """Return True if the item is defined by :mod:`robustness.suite`, wherever it is imported."""
    module = str(getattr(getattr(item, "function", None), "__module__", ""))
    return isinstance(item, pytest.Function) and module.startswith("robustness.suite.")
