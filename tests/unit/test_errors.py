"""The registry of codes: every code in the source is in it, and has one use."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from robustness.errors import REFUSALS, Code, GateError, StoreError

ROOT = Path(__file__).parents[2]
SOURCES = [path for name in ("robustness", "models") for path in (ROOT / name).rglob("*.py")]


OTHERS = {"PermissionError", "_FaultError"}
"""Errors whose second argument is not a code."""


def literal_codes():
    """Yield (file, line, code) for each text that is given to an error as its code."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and len(node.args) > 1:
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                code = node.args[1]
                texts = (code.body, code.orelse) if isinstance(code, ast.IfExp) else (code,)
                if name == "error" or (name.endswith("Error") and name not in OTHERS):
                    for text in texts:
                        if isinstance(text, ast.Constant) and isinstance(text.value, str):
                            yield path.name, node.lineno, text.value


def test_every_code_in_the_source_is_registered():
    codes = list(literal_codes())
    assert [each for each in codes if each[2] not in set(Code)] == []
    assert len(codes) > 10


def test_an_unregistered_code_is_a_programming_error():
    with pytest.raises(ValueError, match="'zzz' is not a valid Code"):
        GateError("x", "zzz")


def test_the_code_is_that_of_the_class_unless_given():
    assert StoreError("x").code is Code.STORE_FAILED
    assert StoreError("x", "store_stale").code is Code.STORE_STALE


def test_refusals_are_no_reasons_of_a_verdict():
    assert {Code.USAGE, Code.UNKNOWN_MODEL, Code.UNKNOWN_POLICY} <= REFUSALS
    assert Code.BASELINE_MISMATCH not in REFUSALS


def test_what_is_not_printable_is_escaped():
    assert str(GateError("a\nb\x1b[1m")) == "a\\nb\\x1b[1m"
