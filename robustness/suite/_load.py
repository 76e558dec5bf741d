"""A model for a case that is not judged by the verdict."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from robustness.conformance import BrokenPromiseError
from robustness.errors import GateError, WeightsNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robustness.gate import Gate
    from robustness.measure import Subject


def subject_or_outcome(gate: Gate, model: str) -> Subject:
    """The model, loaded; the case is skipped or fails, in one line, where it cannot be loaded."""
    from robustness.remembered import RememberedEncoder

    with in_one_line():
        try:
            subject = gate.subject(model)
            if isinstance(subject.encoder, RememberedEncoder):
                # What is examined or timed is the model, not what is known of it.
                subject.encoder = subject.encoder.loaded
        except WeightsNotFoundError as error:
            if gate.plan.models[model].optional:
                pytest.skip(str(error))
            raise
    return subject


@contextmanager
def in_one_line(beginning: str = "") -> Iterator[None]:
    """Fails a case by what is wrong with the model, without the way that led there.

    Args:
        beginning: Comes before what is wrong.
    """
    try:
        yield
    except (BrokenPromiseError, GateError) as error:
        # pytest.fail would leave the error that is handled to be shown too.
        raise pytest.fail.Exception(f"{beginning}{error}", pytrace=False) from None
