"""Conformance cases of a run in 16 bits."""

from __future__ import annotations

import pytest
from support.gate_repository import said

HALF = """
import torch
from my_models import Changed, load_phantom

class Half(Changed):
    def encode_images(self, pixels):
        embedded = super().encode_images(pixels)
        # As where an activation is too large for float16 and a weight brings it back.
        large = embedded @ (2.0**20 * torch.eye(self.embedding_dim))
        return large.float() / 2**20

def load(weights=None, device="cpu"):
    return Half(load_phantom(None, device), "half")
"""


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_checks_for_16_bits_also_run_in_the_precision_of_the_run(changed, pytester, precision):
    (changed.path / "my_half.py").write_text(HALF)
    outcome = changed.gate(
        "--robustness-models=my_half:load", f"--robustness-precision={precision}", "-m",
        "conformance", "-k", "test_conformance",
    )  # fmt: skip
    lost = precision == "float16"
    outcome.assert_outcomes(passed=9 if lost else 10, failed=int(lost))
    line = "my_half:load, finite in float16: images [0, 1, 2, 3, 4] are embedded as NaN or infinite"
    assert (line in said(outcome)) == lost


def test_promises_in_any_precision_are_promises():
    from robustness.conformance import CHECKS, IN_ANY_PRECISION
    from robustness.models.phantom import load

    assert {name: CHECKS[name] for name in IN_ANY_PRECISION} == IN_ANY_PRECISION
    for check in IN_ANY_PRECISION.values():
        check(load(), "bfloat16")
