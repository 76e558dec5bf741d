"""Conformance cases: what every encoder must do before its figures mean anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from robustness.conformance import CHECKS, IN_ANY_PRECISION, fingerprint
from robustness.embedding import FLOAT32
from robustness.suite._load import in_one_line, subject_or_outcome

if TYPE_CHECKING:
    from pathlib import Path

    from robustness.encoder import DualEncoder
    from robustness.gate import Gate


@pytest.mark.conformance
@pytest.mark.parametrize("promise", CHECKS)
def test_conformance(robustness_model: str, promise: str, robustness_gate: Gate) -> None:
    """One promise of :data:`robustness.conformance.CHECKS`; some in the run's precision too."""
    encoder = subject_or_outcome(robustness_gate, robustness_model).encoder
    with in_one_line(f"{robustness_model}, {promise}: "):
        CHECKS[promise](encoder)
    precision = robustness_gate.plan.precision
    if precision != FLOAT32 and promise in IN_ANY_PRECISION:
        with in_one_line(f"{robustness_model}, {promise} in {precision}: "):
            IN_ANY_PRECISION[promise](encoder, precision)


@pytest.mark.conformance
def test_fingerprint(robustness_model: str, robustness_gate: Gate, tmp_path: Path) -> None:
    """The fingerprint follows the weights."""
    subject_or_outcome(robustness_gate, robustness_model)

    def load(weights: Path | None) -> DualEncoder:
        return robustness_gate.load(robustness_model, weights)

    with in_one_line(f"{robustness_model}, fingerprint: "):
        unseen = fingerprint(load, tmp_path)
    if unseen:
        pytest.skip(f"{robustness_model}: {unseen}")
