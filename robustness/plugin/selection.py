"""Queries of pytest's own options: marker selection, collect-only and listing modes."""

from __future__ import annotations

import ast

import pytest

_LISTINGS = ("help", "markers", "showfixtures", "show_fixtures_per_test", "cacheshow")


def selects_marker(config: pytest.Config, marker: str) -> bool:
    """Return True if ``-m`` selects tests that have this marker."""
    try:
        expression = ast.parse(f"({config.option.markexpr})", mode="eval")
    except SyntaxError:
        # Pytest reports a malformed expression; a marker may also have a name Python cannot parse.
        return False
    return _selects(expression.body, marker)


def runs_tests(config: pytest.Config) -> bool:
    """Return True unless tests are only collected or only set up."""
    return not (config.option.collectonly or config.getoption("setuponly", default=False))


def benchmark_only(config: pytest.Config) -> bool:
    """Return True if ``--benchmark-only`` skips everything and ``-m`` does not select the gate."""
    only = config.getoption("benchmark_only", default=False)
    return bool(only) and not selects_marker(config, "robustness")


def is_listing(config: pytest.Config) -> bool:
    """Return True if pytest only prints a list, such as its help or its fixtures."""
    return any(config.getoption(name, default=None) for name in _LISTINGS)


def _selects(expression: ast.expr, marker: str, *, positive: bool = True) -> bool:
    """Return True if the marker occurs under an even number of ``not``."""
    match expression:
        case ast.BoolOp(values=values):
            return any(_selects(value, marker, positive=positive) for value in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _selects(operand, marker, positive=not positive)
        case ast.Name(id=name) | ast.Call(func=ast.Name(id=name)):
            return positive and name == marker
    return False
