"""A model for a case that is not judged by the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from robustness.errors import GateError, WeightsNotFoundError

if TYPE_CHECKING:
    from robustness.gate import Gate
    from robustness.measure import Subject


def subject_or_outcome(gate: Gate, model: str) -> Subject:
    """The model, loaded; the case is skipped or fails, in one line, where it cannot be loaded."""
    from robustness.remembered import RememberedEncoder

    try:
        subject = gate.subject(model)
        if isinstance(subject.encoder, RememberedEncoder):
            # What is examined or timed is the model, not what is known of it.
            subject.encoder = subject.encoder.loaded
    except WeightsNotFoundError as error:
        if gate.plan.models[model].optional:
            pytest.skip(str(error))
        pytest.fail(str(error), pytrace=False)
    except GateError as error:
        pytest.fail(str(error), pytrace=False)
    return subject
