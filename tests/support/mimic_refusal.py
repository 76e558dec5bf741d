"""Helpers for tests with a damaged MIMIC-CXR-JPG tree."""

from __future__ import annotations

import pytest

from robustness import evalset
from robustness.errors import EvaluationSetError, GateError

ALL = "split=all,view=all,images=all"
"""Options that select every image."""


def load(root, options=ALL):
    return evalset.load(f"mimic_cxr:{root},{options}")


def refused(root, options=ALL, kind=EvaluationSetError):
    """Return the error message: one printable line."""
    with pytest.raises(GateError) as caught:
        load(root, options)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 1200
    return message
