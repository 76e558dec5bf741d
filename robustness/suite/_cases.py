"""Cases judged by the verdict (occlusions, properties), and the conformance cases."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from robustness.conformance import CHECKS, IN_ANY_PRECISION, BrokenPromiseError, fingerprint
from robustness.embedding import FLOAT32
from robustness.errors import GateError, WeightsNotFoundError
from robustness.report import describe_case, describe_property
from robustness.verdict.reasons import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from robustness.encoder import DualEncoder
    from robustness.plan import Case
    from robustness.records import CaseRecord, PropertyRecord
    from robustness.run.gate import Gate
    from robustness.run.subject import Subject


@pytest.mark.robustness
def test_occlusion(
    robustness_case: Case, robustness_gate: Gate, robustness_record: Callable[[CaseRecord], None]
) -> None:
    """Check that retrieval under one occlusion pattern and level meets its bounds."""
    record = robustness_gate.run(robustness_case)
    robustness_record(record)
    if any(measurement.failed for measurement in record.measurements):
        pytest.fail(describe_case(robustness_gate.plan, robustness_case, record), pytrace=False)
    unmeasured = [m.message for m in record.measurements if m.verdict is Verdict.NOT_MEASURED]
    if unmeasured:
        pytest.skip(unmeasured[0])


@pytest.mark.robustness
def test_property(
    robustness_model: str,
    robustness_property: str,
    robustness_gate: Gate,
    robustness_record: Callable[[PropertyRecord], None],
) -> None:
    """Check that Hypothesis finds no occlusion that breaks a property of the model."""
    from robustness.run.search import search

    record = search(robustness_gate, robustness_model, robustness_property)
    robustness_record(record)
    if record.failed:
        pytest.fail(describe_property(robustness_gate.plan, record), pytrace=False)
    if record.verdict is Verdict.NOT_MEASURED:
        pytest.skip(record.message)


def loaded_subject(gate: Gate, model: str) -> tuple[Subject, DualEncoder]:
    """Return a model's subject and its loaded encoder.

    The case is skipped if the weights of an optional model are missing, and fails with one line
    if the model cannot be loaded.
    """
    from robustness.model_cache import unwrap

    with one_line_failure():
        try:
            subject = gate.subject(model)
            return subject, unwrap(subject.encoder)
        except WeightsNotFoundError as error:
            if gate.plan.models[model].optional:
                pytest.skip(str(error))
            raise


@contextmanager
def one_line_failure(prefix: str = "") -> Iterator[None]:
    """Turn errors of the model into a failure without a traceback.

    Args:
        prefix: Start of the message.
    """
    try:
        yield
    except (BrokenPromiseError, GateError) as error:
        # pytest.fail() would also show the error that is being handled.
        raise pytest.fail.Exception(f"{prefix}{error}", pytrace=False) from None


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
