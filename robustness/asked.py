"""What the command line asks pytest itself for: the tests of a marker, or no run at all."""

from __future__ import annotations

import ast

import pytest

_LISTINGS = ("help", "markers", "showfixtures", "show_fixtures_per_test", "cacheshow")


def asked_for(config: pytest.Config, marker: str) -> bool:
    """Whether ``-m`` picks the tests of a marker."""
    try:
        expression = ast.parse(f"({config.option.markexpr})", mode="eval")
    except SyntaxError:
        # Pytest says so, or the expression names what Python could not.
        return False
    return _picks(expression.body, marker)


def runs(config: pytest.Config) -> bool:
    """Whether tests are run, and not collected or set up alone."""
    return not (config.option.collectonly or config.getoption("setuponly", default=False))


def only_timings(config: pytest.Config) -> bool:
    """Whether pytest-benchmark skips all that is no timing, and nothing else was asked for."""
    only = config.getoption("benchmark_only", default=False)
    return bool(only) and not asked_for(config, "robustness")


def listing(config: pytest.Config) -> bool:
    """Whether a run only says what there is, such as pytest's help or its fixtures."""
    return any(config.getoption(name, default=None) for name in _LISTINGS)


def _picks(expression: ast.expr, marker: str, *, picked: bool = True) -> bool:
    """Whether a marker stands where it picks tests: under no ``not``, or under two."""
    match expression:
        case ast.BoolOp(values=values):
            return any(_picks(value, marker, picked=picked) for value in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _picks(operand, marker, picked=not picked)
        case ast.Name(id=name) | ast.Call(func=ast.Name(id=name)):
            return picked and name == marker
    return False
