"""Collected tests: what the plan makes of them, and which of them are the gate's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

import pytest

from robustness.options import plan_of
from robustness.properties import PROPERTIES

if TYPE_CHECKING:
    from robustness.plan import Plan

MEASURING = frozenset({"robustness_case", "robustness_model", "robustness_gate"})
"""What an item asks for that measures."""

_PLAN_ERROR: pytest.StashKey[pytest.UsageError] = pytest.StashKey()


def parametrise(metafunc: pytest.Metafunc) -> None:
    """Turns the plan into cases; of a plan that cannot be read it makes none.

    What is wrong with the plan is kept, for :func:`plan_error`.
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
        metafunc.parametrize("robustness_property", list(PROPERTIES))


def plan_error(config: pytest.Config) -> pytest.UsageError | None:
    """Why the cases of a collection have no plan, if they have none."""
    return config.stash.get(_PLAN_ERROR, None)


def measures(item: pytest.Item) -> bool:
    """Whether an item loads models or the evaluation set."""
    return not MEASURING.isdisjoint(getattr(item, "fixturenames", ()))


def judged(item: pytest.Item) -> bool:
    """Whether the run's verdict rests on an item: a marker of that name may be another's."""
    return item.get_closest_marker("robustness") is not None and measures(item)


def name_of(item: pytest.Function) -> str:
    """The plan's name of a case; in its id, a repository's own fixtures may add to it."""
    given: Mapping[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    if "robustness_case" in given:
        return str(given["robustness_case"].id)
    if "robustness_property" in given:
        return f"{given['robustness_model']}-{given['robustness_property']}"
    return item.name


def of_suite(item: pytest.Item) -> TypeGuard[pytest.Function]:
    """Whether an item is a case of the suite, wherever it was imported to."""
    module = str(getattr(getattr(item, "function", None), "__module__", ""))
    return isinstance(item, pytest.Function) and module.startswith("robustness.suite.")
