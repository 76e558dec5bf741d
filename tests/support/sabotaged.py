"""Small repository with a sabotage, and checks of how its run ends."""

from __future__ import annotations

import re
from functools import partial
from xml.etree import ElementTree as ET

from support.gate_repository import assert_no_traceback, said
from support.sabotages import SABOTAGES

THRESHOLDS = """\
version: 1
evalset: phantom:16
models:
  phantom: {loader: robustness.models.phantom:load}
occlusion:
  patterns: [square]
  fills: [black]
  levels: [0, 0.3]
bounds:
  - {level: 0, require: [hit@5 >= 0.6]}
  - {level: 0.3, require: [hit@5 >= 0.4]}
properties: {bound: hit@10 >= 0.1, max_level: 0.3, subset: 12, examples: 1, noise: 0.1}
"""

MODELS = """
import os
import signal
from dataclasses import replace
from pathlib import Path
import torch
from my_models import Changed, WeightsNotFoundError, load_phantom

class Sabotaged(Changed):
    def encode_images(self, pixels):
        embedded = super().encode_images(pixels).clone()
        if self.kind == "infinite":
            embedded[0] = float("inf")
        if self.kind == "unnormalised":
            embedded *= torch.linspace(1, 3, len(embedded), device=self.device)[:, None]
        if self.kind == "turned":
            embedded = embedded.roll(1, 1)
        return embedded.flip(0) if self.kind == "shuffled" else embedded
    def encode_reports(self, texts):
        embedded = super().encode_reports(texts)
        return embedded[:1].repeat(len(texts), 1) if self.kind == "same_reports" else embedded

class FailsOnce(Sabotaged):
    failed = False
    def encode_images(self, pixels):
        # Only properties embed 12 images, their subset.
        if len(pixels) == 12 and not self.failed:
            self.failed = True
            if self.kind == "exits_once":
                raise SystemExit("gone for a moment")
            raise RuntimeError("out of memory, for a moment")
        return super().encode_images(pixels)

class Remembers(Sabotaged):
    # Like a graph recorded for one batch size and replayed on the recorded input.
    def encode_images(self, pixels):
        self.first = getattr(self, "first", pixels)
        return super().encode_images(self.first if len(self.first) == len(pixels) else pixels)

class Withdrawn(Sabotaged):
    batches = 0
    def encode_images(self, pixels):
        self.batches += 1
        if self.batches > 1:
            raise WeightsNotFoundError("weights of 'withdrawn' are not here any more")
        return super().encode_images(pixels)

class Scorer(Sabotaged):
    def score(self, images, reports):
        return images @ reports.T * float("nan")

def _loader(kind, of=Sabotaged):
    return lambda weights=None, device="cpu": of(load_phantom(None, device), kind)

infinite, unnormalised, shuffled, same_reports = map(
    _loader, ["infinite", "unnormalised", "shuffled", "same_reports"]
)
nan_scores = _loader("nan_scores", Scorer)
remembers, withdrawn = _loader("remembers", Remembers), _loader("withdrawn", Withdrawn)
fails_once, exits_once = (_loader(kind, FailsOnce) for kind in ("fails_once", "exits_once"))

def liar(weights=None, device="cpu"):
    encoder = Sabotaged(load_phantom(None, device), "turned")
    encoder.fingerprint = encoder.inner.fingerprint
    return encoder

def reader(weights=None, device="cpu", section="comparison"):
    encoder = Sabotaged(load_phantom(None, device), "reader")
    encoder.text_policy = replace(encoder.text_policy, sections=(section,))
    return encoder

class Turned(Sabotaged):
    def encode_images(self, pixels):
        import my_code
        turns = my_code.TURNS + self.turns
        return super().encode_images(pixels).roll(turns, 1)

def turned(weights=None, device="cpu", settings=None, turns=0):
    encoder = Turned(load_phantom(weights, device), "turned by nothing")
    encoder.checkpoint = Path(weights)
    encoder.turns = int(Path(settings).read_text()) + int(turns)
    return encoder

def replaced(weights=None, device="cpu"):
    # Another process that loads the file later reads other weights.
    encoder = Sabotaged(load_phantom(None, device), Path(weights).read_text())
    Path(weights).write_text(f"weights of another training, not those of {os.getpid()}")
    return encoder

def writer(weights=None, device="cpu"):
    # Another program writes to the evaluation set while the gate runs.
    Path("3.png").write_bytes(Path("4.png").read_bytes())
    return load_phantom(None, device)

def interrupt(weights=None, device="cpu"):
    raise KeyboardInterrupt

def killed(weights=None, device="cpu"):
    os.kill(os.getpid(), signal.SIGKILL)
"""

RECORDING = """
import pytest
from dataclasses import replace

def tampered(record):
    data = record.to_json()
    cells = data.get("measurements", [])
    own = data if "property" in data else {}
    level = cells[0]["level"] if cells else None
    TAMPER
    return type(record).from_json(data)

@pytest.fixture
def robustness_gate(robustness_gate, monkeypatch):
    run = robustness_gate.run
    monkeypatch.setattr(robustness_gate, "run", lambda case: tampered(run(case)))
    return robustness_gate

@pytest.fixture
def robustness_record(robustness_record):
    return lambda record: robustness_record(tampered(record) if "room" in dir(record) else record)
"""
"""A conftest.py that changes the records of cases."""


def sabotage_of(item):
    """Return the sabotage that a test or its parameter is named after."""
    name = item.callspec.id if hasattr(item, "callspec") else item.name
    return SABOTAGES[name.removeprefix("test_")]


class Sabotaged:
    """Temporary repository with a sabotage."""

    def __init__(self, repository, sabotage, pytester):
        self.repository, self.sabotage = repository, sabotage
        self.path, self.edit, self.pytester = repository.path, repository.edit, pytester
        self.checked = False

    def tamper(self, line):
        """Run a line of Python on every record; ``data`` is its JSON."""
        (self.path / "conftest.py").write_text(RECORDING.replace("TAMPER", line))

    def run(self, *arguments, apart=False):
        run = self.pytester.runpytest_subprocess
        if not apart:
            run = partial(self.pytester.runpytest_inprocess, no_reraise_ctrlc=True)
        return self.repository.gate("--junitxml=junit.xml", *arguments, run=run)

    def caught(self, *arguments, model=None, apart=False):
        """Run the gate, check that it ends as the sabotage demands, and return its output."""
        if model:
            arguments = (f"--robustness-models={model}", *arguments)
        outcome = self.run(*arguments, apart=apart)
        self.checked = True
        text = said(outcome)
        if self.sabotage.code != "crashed":
            assert_no_traceback(text)
        getattr(self, f"_{self.sabotage.end}")(outcome, text)
        return text

    def _fails(self, outcome, text):
        assert outcome.ret in {1, 2}, text
        assert re.search(r"^verdict: FAIL \(", text, re.MULTILINE)
        junit = ET.parse(self.path / "junit.xml").getroot().find("testsuite")
        reported = {p.get("name"): p.get("value") for p in junit.findall("properties/property")}
        assert (reported["robustness_verdict"], reported["robustness_reason"]) == (
            "fail",
            self.sabotage.code,
        )
        assert int(junit.get("failures")) + int(junit.get("errors")) > 0
        if self.sabotage.code == "report_failed":
            return
        results = self.repository.results()
        assert (results["verdict"], results["reason"]) == ("fail", self.sabotage.code)

    def _refused(self, outcome, text):
        assert outcome.ret == 4, text
        lines = [*outcome.stdout.lines, *outcome.stderr.lines]
        (line,) = [line for line in lines if line.startswith("ERROR: ")]
        assert line.endswith(f" [{self.sabotage.code}]")
        assert not list(self.path.glob(".robustness/report/*"))

    def _killed(self, outcome, _text):
        assert outcome.ret not in {0, 1, 2, 3, 4, 5}
        results = self.repository.results()
        assert (results["verdict"], results["reason"]) == ("fail", self.sabotage.code)

    def _recovers(self, outcome, text):
        assert outcome.ret == 0, text
        assert self.repository.results()["verdict"] == "pass"
