"""An error in a user's code: it fails its case, and is shown from that code on."""

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
        # What the gate's own code says of a wrong size comes through this frame.
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
def mine(changed):
    (changed.path / "mine.py").write_text(MINE)
    return changed


def places(text):
    """The files of the first traceback, in the order they are shown."""
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
def test_what_is_shown_begins_in_the_user_s_file(mine, pytester, marker, kind, shown, error):
    outcome = mine.gate(f"--robustness-models=mine:{kind}", "-m", marker)
    assert outcome.ret == 1
    text = said(outcome)
    assert places(text) == shown
    assert re.search(rf"^E +{error}$", text, re.MULTILINE)
    assert "robustness_gate = " not in text


@pytest.mark.parametrize("kind", ["value", "refuse"])
@pytest.mark.slow
def test_it_fails_its_case_beside_other_processes_too(mine, pytester, kind):
    outcome = mine.gate(f"--robustness-models=mine:{kind}", "-n", "2", "-k", "square")
    assert outcome.ret == 1
    text = said(outcome)
    assert "INTERNALERROR" not in text
    assert places(text)[0] == "mine.py"
    outcome.assert_outcomes(failed=2)
    results = mine.results()
    assert (results["verdict"], results["reason"]) == ("fail", "crashed")


def test_what_a_user_s_code_calls_is_shown_whole(mine):
    text = said(mine.gate("--robustness-models=mine:size", "-k", "square-0"))
    first, *others = places(text)
    assert first == "mine.py"
    assert others[-1] != "mine.py"


def test_an_error_of_the_gate_is_shown_whole(repository, monkeypatch):
    monkeypatch.setattr("robustness.run.gate.curve_record", int)
    text = said(repository.gate("-k", "square-0"))
    first, *_, last = places(text)
    assert first.endswith("robustness/suite/_cases.py")
    assert last.endswith("robustness/run/gate.py")


def test_all_is_shown_to_who_asks_for_it(mine):
    text = said(mine.gate("--robustness-models=mine:value", "-k", "square-0", "--full-trace"))
    assert any(place.endswith("robustness/run/gate.py") for place in places(text))
