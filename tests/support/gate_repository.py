"""Gate runs in a temporary repository, and faulty models for it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

RUNNERS = [[], pytest.param(["-n", "2"], marks=pytest.mark.slow)]
"""Arguments of a run in one process, and with pytest-xdist (slow)."""

REPORT = ".robustness/report"
BASELINES = ".robustness/baselines"

WEIGHTS = Path(__file__).parents[2] / "models" / "phantom.safetensors"

THRESHOLDS = """\
version: 1
evalset: phantom:48
models:
  phantom: {loader: robustness.models.phantom:load}
occlusion:
  patterns: [square, grid]
  fills: [black, grey]
  levels: [0, 0.3]
bounds:
  - {level: 0, require: [hit@10 >= 0.5]}
  - {level: 0.3, require: [hit@10 >= 0.4, retention(hit@10) >= 0.3]}
properties: {bound: hit@10 >= 0.3, max_level: 0.3, subset: 16, examples: 4, noise: 0.3}
"""

MODELS = """
import os
import torch
from robustness.models.phantom import load as load_phantom
from robustness.encoder import DualEncoder
from robustness.errors import WeightsNotFoundError

class Changed(DualEncoder):
    def __init__(self, inner, kind):
        self.inner, self.kind = inner, kind
        self.fingerprint = f"{kind} {inner.fingerprint}"
        self.text_policy, self.embedding_dim = inner.text_policy, inner.embedding_dim
        self.device, self.details = inner.device, inner.details

    def preprocess(self, images):
        return self.inner.preprocess(images)

    def encode_images(self, pixels):
        embedded = self.inner.encode_images(pixels).clone()
        if self.kind == "nan":
            embedded[0] = float("nan")
        if self.kind == "constant":
            embedded[:] = embedded.new_tensor(1 / self.embedding_dim ** 0.5)
        if self.kind == "shape":
            embedded = embedded[:, :7]
        if self.kind == "double":
            embedded = embedded.double()
        if self.kind == "tuple":
            embedded = (embedded, pixels)
        if self.kind == "loose":
            embedded = 2 * embedded
        if self.kind == "neighbours":
            embedded = torch.nn.functional.normalize(embedded + embedded.mean(0))
        return embedded

    def encode_reports(self, texts):
        return self.inner.encode_reports(texts)

def _loader(kind):
    return lambda weights=None, device="cpu": Changed(load_phantom(None, device), kind)

nan, constant, shape, double, neighbours, tuple_, loose = map(
    _loader, ["nan", "constant", "shape", "double", "neighbours", "tuple", "loose"]
)

def nameless(weights=None, device="cpu"):
    made = Changed(load_phantom(None, device), "nameless")
    del made.fingerprint
    return made

def absent(weights=None, device="cpu"):
    raise WeightsNotFoundError("weights of 'absent' are not here; get them from example.org")

def crash(weights=None, device="cpu"):
    raise RuntimeError("a bug in the loader")

def die(weights=None, device="cpu"):
    os._exit(3)

def nothing(weights=None, device="cpu"):
    return None
"""


class Repository:
    """Temporary repository with a thresholds file and a test file that imports the suite.

    Args:
        pytester: Runs pytest in the repository.
        store: Folder of the store; shared by all tests, so that embeddings are reused.
    """

    def __init__(self, pytester, store):
        pytester.makefile(".yaml", thresholds=THRESHOLDS)
        pytester.makepyfile(test_release="from robustness.suite import *")
        self.path = pytester.path
        self._run = pytester.runpytest_inprocess
        self._store = store

    def edit(self, before, after):
        file = self.path / "thresholds.yaml"
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, after, 1))

    def gate(self, *arguments, run=None):
        run = run or self._run
        return run("-m", "robustness", f"--robustness-store={self._store}", *arguments)

    def results(self, folder=REPORT):
        return read_results(self.path / folder)

    def record(self, folder, *arguments):
        """Run the gate, move the files that it wrote to ``folder``, and return the run."""
        before = set(self.path.iterdir())
        outcome = self.gate("--junitxml=junit.xml", *arguments)
        folder.mkdir()
        for path in set(self.path.iterdir()) - before:
            shutil.move(path, folder / path.name)
        return RecordedRun(folder, outcome)


@dataclass(frozen=True)
class RecordedRun:
    """Finished gate run that several tests read.

    Attributes:
        path: Folder with the files that the run wrote.
        outcome: Outcome of pytester.
    """

    path: Path
    outcome: pytest.RunResult

    def results(self, folder=REPORT):
        return read_results(self.path / folder)


def read_results(folder):
    return json.loads((folder / "results.json").read_text())


def noisy(path, share):
    """Save the reference encoder's weights plus noise, a share of each tensor's deviation."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(WEIGHTS, "pt") as file:
        metadata = file.metadata()
    generator = torch.Generator().manual_seed(0)
    changed = {
        name: tensor
        + share * tensor.std() * torch.randn(tensor.shape, generator=generator).to(tensor.dtype)
        if tensor.ndim > 1
        else tensor
        for name, tensor in load_file(WEIGHTS).items()
    }
    save_file(changed, path, metadata)


def said(outcome):
    return outcome.stdout.str() + outcome.stderr.str()


def comparable(results):
    return {k: v for k, v in results.items() if k not in {"timing", "environment"}}


def assert_no_traceback(text):
    assert "Traceback" not in text
    assert not re.search(r"^(E  |>  )", text, re.MULTILINE)
    assert "INTERNALERROR" not in text
