"""Tracebacks of errors in the user's code begin in that code."""

from __future__ import annotations

import re

import pytest
from support.gate_repository import said

MINE = """
import sys
import torch
from my_models import Changed, load_phantom

class Mine(Changed):
    @torch.no_grad()
    def encode_images(self, pixels):
        if self.kind == "value":
            raise_in_a_helper(pixels)
        if self.kind == "exit":
            sys.exit("no licence for this many images")
        # An error in the package's code passes through this frame.
        return self.inner.encode_images(pixels[:, :, :, 0])

def raise_in_a_helper(pixels):
    raise ValueError("bad pixels")

def _loader(kind):
    return lambda weights=None, device="cpu": Mine(load_phantom(None, device), kind)

value, exit, size = map(_loader, ["value", "exit", "size"])

def refuse(weights=None, device="cpu"):
    sys.exit("no licence")

def fail(weights=None, device="cpu"):
    raise RuntimeError("no memory")
"""


@pytest.fixture
def user_code(changed):
    (changed.path / "mine.py").write_text(MINE)
    return changed


def files_of(text):
    """Return the files of the first traceback in order."""
    first = re.split(r"^_{5,} test_", text, flags=re.MULTILINE)[1]
    return re.findall(r"^(\S+\.py):\d+: ", first, re.MULTILINE)


@pytest.mark.parametrize("marker", ["robustness", "conformance"])
@pytest.mark.parametrize(
    ("kind", "shown", "error"),
    [
        ("value", ["mine.py", "mine.py"], "ValueError: bad pixels"),
        ("exit", ["mine.py"], "SystemExit: no licence for this many images"),
        ("refuse", ["mine.py"], "SystemExit: no licence"),
        ("fail", ["mine.py"], "RuntimeError: no memory"),
    ],
)
def test_a_traceback_begins_in_the_user_s_file(user_code, pytester, marker, kind, shown, error):
    cases = ("-k", "square-0 or unit")
    outcome = user_code.gate(f"--robustness-models=mine:{kind}", "-m", marker, *cases)
    assert outcome.ret == 1
    text = said(outcome)
    assert files_of(text) == shown
    assert re.search(rf"^E +{error}$", text, re.MULTILINE)
    assert "robustness_gate = " not in text


@pytest.mark.parametrize("kind", ["value", "refuse"])
@pytest.mark.slow
def test_an_error_fails_its_case_under_xdist(user_code, pytester, kind):
    outcome = user_code.gate(f"--robustness-models=mine:{kind}", "-n", "2", "-k", "square")
    assert outcome.ret == 1
    text = said(outcome)
    assert "INTERNALERROR" not in text
    assert files_of(text)[0] == "mine.py"
    outcome.assert_outcomes(failed=2)
    results = user_code.results()
    assert (results["verdict"], results["reason"]) == ("fail", "crashed")


def test_frames_below_the_user_s_code_are_shown(user_code):
    text = said(user_code.gate("--robustness-models=mine:size", "-k", "square-0"))
    first, *others = files_of(text)
    assert first == "mine.py"
    assert others[-1] != "mine.py"


def test_a_traceback_of_an_error_in_the_package_is_complete(repository, monkeypatch):
    monkeypatch.setattr("robustness.run.gate.CurvePoint", int)
    text = said(repository.gate("-k", "square-0"))
    first, *_, last = files_of(text)
    assert first.endswith("robustness/suite/_cases.py")
    assert last.endswith("robustness/run/gate.py")


def test_full_trace_shows_all_frames(user_code):
    text = said(user_code.gate("--robustness-models=mine:value", "-k", "square-0", "--full-trace"))
    assert any(file.endswith("robustness/run/gate.py") for file in files_of(text))
