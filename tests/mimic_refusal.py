"""What the tests share that give a MIMIC-CXR-JPG tree with a fault in it."""

from __future__ import annotations

import pytest

from robustness import evalset
from robustness.errors import EvaluationSetError, GateError

ALL = "split=all,view=all,images=all"
"""Every image is read."""


def load(root, options=ALL):
    return evalset.load(f"mimic_cxr:{root},{options}")


def refused(root, options=ALL, kind=EvaluationSetError):
    """What a person is told: one line, and nothing that moves a cursor."""
    with pytest.raises(GateError) as caught:
        load(root, options)
    assert type(caught.value) is kind
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 1200
    return said
