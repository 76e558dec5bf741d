"""Conformance cases: promises that every encoder must keep before its metrics mean anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from robustness.conformance import CHECKS, IN_ANY_PRECISION, fingerprint
from robustness.embedding import FLOAT32
from robustness.suite._cases import loaded_subject, one_line_failure

if TYPE_CHECKING:
    from pathlib import Path

    from robustness.encoder import DualEncoder
    from robustness.run.gate import Gate


@pytest.mark.conformance
@pytest.mark.parametrize("promise", CHECKS)
def test_conformance(robustness_model: str, promise: str, robustness_gate: Gate) -> None:
    """Check one promise of :data:`robustness.conformance.CHECKS`.

    Promises of :data:`robustness.conformance.IN_ANY_PRECISION` are also checked in the precision
    of the run.
    """
    _, encoder = loaded_subject(robustness_gate, robustness_model)
    with one_line_failure(f"{robustness_model}, {promise}: "):
        CHECKS[promise](encoder)
    precision = robustness_gate.plan.precision
    if precision != FLOAT32 and promise in IN_ANY_PRECISION:
        with one_line_failure(f"{robustness_model}, {promise} in {precision}: "):
            IN_ANY_PRECISION[promise](encoder, precision)


@pytest.mark.conformance
def test_fingerprint(robustness_model: str, robustness_gate: Gate, tmp_path: Path) -> None:
    """Check that the fingerprint changes if and only if the weights change."""
    loaded_subject(robustness_gate, robustness_model)

    def load(weights: Path | None) -> DualEncoder:
        return robustness_gate.load(robustness_model, weights)

    with one_line_failure(f"{robustness_model}, fingerprint: "):
        skip_reason = fingerprint(load, tmp_path)
    if skip_reason:
        pytest.skip(f"{robustness_model}: {skip_reason}")
