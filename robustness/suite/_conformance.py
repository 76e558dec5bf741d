"""Conformance cases: what every encoder must do before its figures mean anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from robustness.conformance import CHECKS, BrokenPromiseError, fingerprint
from robustness.errors import GateError
from robustness.suite._load import subject_or_outcome

if TYPE_CHECKING:
    from pathlib import Path

    from robustness.encoder import DualEncoder
    from robustness.gate import Gate


@pytest.mark.conformance
@pytest.mark.parametrize("promise", CHECKS)
def test_conformance(robustness_model: str, promise: str, robustness_gate: Gate) -> None:
    """One promise of :data:`robustness.conformance.CHECKS`."""
    encoder = subject_or_outcome(robustness_gate, robustness_model).encoder
    try:
        CHECKS[promise](encoder)
    except (BrokenPromiseError, GateError) as error:
        pytest.fail(f"{robustness_model}, {promise}: {error}", pytrace=False)


@pytest.mark.conformance
def test_fingerprint(robustness_model: str, robustness_gate: Gate, tmp_path: Path) -> None:
    """The fingerprint follows the weights."""
    subject_or_outcome(robustness_gate, robustness_model)

    def load(weights: Path | None) -> DualEncoder:
        return robustness_gate.load(robustness_model, weights)

    try:
        unseen = fingerprint(load, tmp_path)
    except (BrokenPromiseError, GateError) as error:
        pytest.fail(f"{robustness_model}, fingerprint: {error}", pytrace=False)
    if unseen:
        pytest.skip(f"{robustness_model}: {unseen}")
