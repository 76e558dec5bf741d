"""Errors and their codes; mypy checks that every code in the source is registered."""

from __future__ import annotations

import pytest

from robustness.errors import REFUSALS, Code, GateError, StoreError


def test_an_unregistered_code_is_a_programming_error():
    with pytest.raises(ValueError, match="'zzz' is not a valid Code"):
        GateError("x", "zzz")


def test_the_code_is_that_of_the_class_unless_given():
    assert StoreError("x").code is Code.STORE_FAILED
    assert StoreError("x", Code.STORE_STALE).code is Code.STORE_STALE


def test_refusals_are_not_reasons_of_a_verdict():
    assert {Code.USAGE, Code.UNKNOWN_MODEL, Code.UNKNOWN_POLICY} <= REFUSALS
    assert Code.BASELINE_MISMATCH not in REFUSALS


def test_unprintable_characters_are_escaped():
    assert str(GateError("a\nb\x1b[1m")) == "a\\nb\\x1b[1m"
