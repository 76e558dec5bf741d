"""The plugin end to end: what a release engineer sees, in good runs and in bad ones."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

THRESHOLDS = """\
version: 1
evalset: phantom:48
models:
  phantom: {loader: models.phantom:load}
occlusion:
  patterns: [square, grid]
  fills: [black, grey]
  levels: [0, 0.3]
bounds:
  - {level: 0, require: [hit@10 >= 0.5]}
  - {level: 0.3, require: [hit@10 >= 0.4, retention(hit@10) >= 0.3]}
properties: {bound: hit@10 >= 0.3, max_level: 0.3, subset: 16, examples: 4, noise: 0.3}
"""

WEIGHTS = Path(__file__).parents[1] / "models" / "phantom.safetensors"


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """One store for all: what a case embeds, the next one finds."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def heavy_modules():
    """In-process runs forget the modules they import, and torch is imported once a process."""
    import models.phantom
    import robustness.gate
    import robustness.search

    return models.phantom, robustness.gate, robustness.search


@pytest.fixture
def repository(pytester, store, heavy_modules):
    """A user's repository: thresholds, the one line, and a way to run the gate."""
    pytester.makefile(".yaml", thresholds=THRESHOLDS)
    pytester.makepyfile(test_gate="from robustness.suite import *")

    class Repository:
        path = pytester.path

        def write(self, text, name="thresholds.yaml"):
            (self.path / name).write_text(text)

        def edit(self, before, after):
            text = (self.path / "thresholds.yaml").read_text()
            assert before in text
            self.write(text.replace(before, after, 1))

        def gate(self, *arguments, run=pytester.runpytest_inprocess):
            return run("-m", "robustness", f"--robustness-store={store}", *arguments)

        def results(self, folder=".robustness/report"):
            return json.loads((self.path / folder / "results.json").read_text())

    return Repository()


def said(outcome):
    return outcome.stdout.str() + outcome.stderr.str()


def comparable(results):
    return {k: v for k, v in results.items() if k not in {"timing", "environment"}}


def assert_no_traceback(text):
    assert "Traceback" not in text
    assert not re.search(r"^(E  |>  )", text, re.MULTILINE)
    assert "INTERNALERROR" not in text


# --- a good run ------------------------------------------------------------------------


def test_a_run_that_passes(repository):
    outcome = repository.gate("-v")
    assert outcome.ret == 0
    outcome.assert_outcomes(passed=8, deselected=3)
    text = said(outcome)
    assert "test_gate.py::test_occlusion[phantom-square-30] PASSED" in text
    assert re.search(r"^model +pattern +0% +30% +verdict$", text, re.MULTILINE)
    assert re.search(r"^phantom +square +[.\d]+ +[.\d]+ +PASS$", text, re.MULTILINE)
    assert re.search(r"^phantom +grid +[.\d]+ +[.\d]+ +PASS$", text, re.MULTILINE)
    assert "properties: 4 of 4 hold" in text
    assert "verdict: PASS" in text


def test_results_hold_what_other_programs_read(repository):
    assert repository.gate("--robustness-report=out").ret == 0
    results = repository.results("out")
    cells = results["cases"]
    coordinates = [(c["model"], c["pattern"], c["fill"], c["level"], c["direction"]) for c in cells]
    assert len(set(coordinates)) == len(coordinates) == 2 * 2 * 2 * 2
    names = {
        *(f"{kind}@{k}" for kind in ("hit", "recall") for k in (1, 5, 10, 100)),
        *("mrr", "median_rank", "rsum", "retention(hit@10)"),
    }
    for cell in cells:
        assert cell["evalset"] == "phantom:48"
        assert cell["seed"] == 0
        assert cell["n"] in range(40, 49)
        assert cell["bounds"]
        assert (cell["verdict"], cell["reason"]) == ("pass", "ok")
        assert names <= set(cell["metrics"])
        assert abs(cell["hidden"] - cell["level"]) < 0.002
        assert 0 < cell["chance"]["hit@10"] < 0.3
        for name, metric in cell["metrics"].items():
            assert set(metric) == {"value", "low", "high"}, name
            if name in {"retention(hit@100)", "retention(recall@100)"}:
                # Of 48 images and fewer texts, chance is to find all: nothing can be lost.
                assert metric["value"] is None
            else:
                assert metric["low"] <= metric["value"] <= metric["high"], name
        rsum = sum(
            other["metrics"][f"hit@{k}"]["value"]
            for other in cells
            for k in (1, 5, 10)
            if all(other[key] == cell[key] for key in ("pattern", "fill", "level"))
        )
        assert cell["metrics"]["rsum"]["value"] == pytest.approx(rsum)
    assert results["verdict"] == "pass"
    assert {c["area_under_curve"]["value"] > 0 for c in results["curves"]} == {True}
    assert len(results["curves"]) == 2 * 2 * 2
    protocol = results["protocol"]
    assert protocol["positives"] == "identical_text"
    assert protocol["evalset"]["images"] == 48
    assert protocol["models"][0]["text_policy"]["sections"] == ["findings", "impression"]
    assert protocol["models"][0]["details"]["weights_sha256"]
    assert results["environment"]["packages"]["torch"]
    assert results["environment"]["device"]
    assert results["timing"]["model_loads"] == 1


def test_numbers_equal_an_independent_computation(repository):
    """One cell from scratch: float64 scores, ranks by sorting, no code of ours but the mask."""
    import numpy as np

    from robustness import encoder, evalset
    from robustness.embedding import embed_images, embed_reports
    from robustness.evalset import normalise
    from robustness.occlusion import Occlusion

    assert repository.gate().ret == 0
    model = encoder.load("models.phantom:load")
    loaded = evalset.load("phantom:48")
    texts = [normalise(p.report.text(("findings", "impression"))) for p in loaded.pairs]
    distinct = sorted(set(texts))
    occlusion = Occlusion("grid", 0.3, "grey", 0)
    images = [occlusion.apply(loaded.decode(p), p.image_id) for p in loaded.pairs]
    scores = embed_images(model, images).astype(float) @ embed_reports(model, distinct).T
    right = np.array([distinct.index(text) for text in texts])
    ranks = (scores > scores[np.arange(48), right][:, None]).sum(axis=1) + 1
    (cell,) = [
        c
        for c in repository.results()["cases"]
        if (c["pattern"], c["fill"], c["level"]) == ("grid", "grey", 0.3)
        and c["direction"] == "image_to_report"
    ]
    assert cell["metrics"]["hit@5"]["value"] == pytest.approx(np.mean(ranks <= 5))
    assert cell["metrics"]["mrr"]["value"] == pytest.approx(np.mean(1 / ranks))
    assert cell["metrics"]["median_rank"]["value"] == np.median(ranks)


# --- the same numbers again --------------------------------------------------------------


def test_repeats_are_equal_and_a_store_changes_nothing(repository, tmp_path):
    found = []
    for i in range(2):
        assert repository.gate(f"--robustness-store={tmp_path / str(i)}").ret == 0
        found.append(repository.results())
    assert repository.gate(f"--robustness-store={tmp_path / '0'}").ret == 0
    found.append(repository.results())
    texts = [json.dumps(comparable(results)) for results in found]
    assert texts[0] == texts[1] == texts[2]
    assert found[0]["timing"]["store"]["computed"] > 0
    assert found[2]["timing"]["store"]["computed"] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--robustness-batch-size=1"],
        ["--robustness-batch-size=7"],
        ["-n", "2"],
        ["-n", "4"],
    ],
    ids=" ".join,
)
def test_batch_sizes_and_workers_change_nothing(repository, pytester, tmp_path, arguments):
    """Within one query: float noise may swap a near tie."""
    assert repository.gate(f"--robustness-store={tmp_path / 'a'}").ret == 0
    expected = repository.results()
    run = pytester.runpytest_subprocess if "-n" in arguments else pytester.runpytest_inprocess
    outcome = repository.gate(f"--robustness-store={tmp_path / 'b'}", *arguments, run=run)
    assert outcome.ret == 0
    results = repository.results()
    assert results["verdict"] == expected["verdict"]
    for cell, other in zip(results["cases"], expected["cases"], strict=True):
        for name, metric in cell["metrics"].items():
            if name.startswith(("hit", "recall", "mrr")):
                assert abs(metric["value"] - other["metrics"][name]["value"]) <= 1 / cell["n"]
    computed = {r["timing"]["store"]["computed"] for r in (results, expected)}
    assert len(computed) == 1, "several processes embed nothing twice"
    assert results["timing"]["model_loads"] == results["timing"]["processes"]


# --- runs that must fail -----------------------------------------------------------------


def test_a_bound_above_the_observed_value(repository):
    repository.edit("hit@10 >= 0.4", "hit@1 >= 0.999")
    outcome = repository.gate()
    assert outcome.ret == 1
    text = said(outcome)
    assert_no_traceback(text)
    assert "phantom on phantom:48, square at level 0.3: 4 of 4 measurements failed" in text
    miss = (
        r"hit@1 is 0\.\d{3} \[0\.\d{3}, [01]\.\d{3}\], bound >= 0\.999 \(line 11\), missed by 0\."
    )
    assert re.search(rf"image_to_report, black, n = 48: {miss}\d+ \[bound_missed\]", text)
    assert "next: pytest -m robustness" in text
    assert re.search(r"^phantom +square +[.\d]+ +[.\d]+\* +FAIL$", text, re.MULTILINE)
    assert "verdict: FAIL" in text
    assert repository.results()["reason"] == "bound_missed"


def test_the_command_a_failure_names_repeats_it(repository, pytester):
    repository.edit("hit@10 >= 0.4", "hit@1 >= 0.999")
    text = said(repository.gate("--robustness-models=phantom"))
    command = re.search(r"next: pytest (.*phantom-grid-30)$", text, re.MULTILINE)[1]
    outcome = pytester.runpytest_inprocess(*command.split())
    outcome.assert_outcomes(failed=1, deselected=10)


def test_weights_of_lower_quality(repository, tmp_path):
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(WEIGHTS, "pt") as file:
        metadata = file.metadata()
    generator = torch.Generator().manual_seed(0)
    noisy = {
        name: tensor
        + 1.5 * tensor.std() * torch.randn(tensor.shape, generator=generator).to(tensor.dtype)
        if tensor.ndim > 1
        else tensor
        for name, tensor in load_file(WEIGHTS).items()
    }
    save_file(noisy, tmp_path / "noisy.safetensors", metadata)
    outcome = repository.gate(f"--robustness-weights=phantom={tmp_path / 'noisy.safetensors'}")
    assert outcome.ret == 1
    assert repository.results()["reason"] == "bound_missed"
    assert_no_traceback(said(outcome))


def test_a_bound_that_is_removed(repository):
    repository.edit("  - {level: 0, require: [hit@10 >= 0.5]}\n", "")
    outcome = repository.gate()
    assert outcome.ret == 1
    assert "no bound applies; add one to the thresholds file [no_bound]" in said(outcome)
    assert repository.results()["reason"] == "no_bound"


def test_a_part_of_the_cases_is_no_pass(repository):
    outcome = repository.gate("-k", "phantom-square-30")
    assert outcome.ret == 1
    outcome.assert_outcomes(passed=1, deselected=10)
    results = repository.results()
    assert (results["verdict"], results["reason"]) == ("fail", "not_run")
    assert "was not run (deselected or cut short)" in said(outcome)
    assert sum(cell["verdict"] == "pass" for cell in results["cases"]) == 4


def test_nothing_selected_is_no_pass(repository):
    assert repository.gate("-k", "no-such-case").ret != 0
    assert repository.results()["verdict"] == "fail"


MODELS = """
import os
import torch
from models.phantom import load as load_phantom
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
        if self.kind == "neighbours":
            embedded = torch.nn.functional.normalize(embedded + embedded.mean(0))
        return embedded

    def encode_reports(self, texts):
        return self.inner.encode_reports(texts)

def _loader(kind):
    return lambda weights=None, device="cpu": Changed(load_phantom(None, device), kind)

nan, constant, shape, double, neighbours = map(
    _loader, ["nan", "constant", "shape", "double", "neighbours"]
)

def absent(weights=None, device="cpu"):
    raise WeightsNotFoundError("weights of 'absent' are not here; get them from example.org")

def crash(weights=None, device="cpu"):
    raise RuntimeError("a bug in the loader")

def die(weights=None, device="cpu"):
    os._exit(3)

def nothing(weights=None, device="cpu"):
    return None
"""


@pytest.fixture
def changed(repository, pytester, monkeypatch):
    """Models that go wrong, each in one way."""
    (pytester.path / "my_models.py").write_text(MODELS)
    monkeypatch.syspath_prepend(pytester.path)
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    monkeypatch.delitem(sys.modules, "my_models", raising=False)
    return repository


@pytest.mark.parametrize(
    ("kind", "reason", "message"),
    [
        ("nan", "model_failed", "as NaN or infinite, the first 'phantom"),
        ("constant", "bound_missed", "missed by"),
        ("shape", "model_failed", "the contract is torch.float32 of shape"),
        ("double", "model_failed", "as torch.float64 of shape"),
        ("nothing", "model_failed", "returned NoneType, not a DualEncoder"),
        ("missing", "model_failed", "module 'my_models' has no function 'missing'"),
    ],
)
def test_models_that_go_wrong(changed, kind, reason, message):
    outcome = changed.gate(f"--robustness-models=my_models:{kind}")
    assert outcome.ret == 1
    text = said(outcome)
    assert message in text
    assert_no_traceback(text)
    results = changed.results()
    assert (results["verdict"], results["reason"]) == ("fail", reason)
    assert not any(cell["verdict"] == "pass" for cell in results["cases"]) or kind == "constant"


def test_a_module_that_is_not_there(repository):
    outcome = repository.gate("--robustness-models=no_such_package.models:load")
    assert outcome.ret == 1
    assert "module 'no_such_package.models' cannot be imported" in said(outcome)
    assert_no_traceback(said(outcome))


def test_a_loader_with_a_bug_shows_its_traceback_and_fails(changed):
    outcome = changed.gate("--robustness-models=my_models:crash")
    assert outcome.ret == 1
    assert "a bug in the loader" in said(outcome)
    assert changed.results()["reason"] == "crashed"


def test_a_worker_that_dies(changed, pytester):
    outcome = changed.gate(
        "--robustness-models=my_models:die",
        "-n",
        "2",
        "--max-worker-restart=1",
        run=pytester.runpytest_subprocess,
    )
    assert outcome.ret != 0
    results = changed.results()
    assert results["verdict"] == "fail"
    assert not any(cell["verdict"] == "pass" for cell in results["cases"])


@pytest.mark.parametrize("optional", [True, False])
def test_weights_that_are_absent(changed, optional):
    changed.edit(
        "occlusion:",
        f"  absent: {{loader: my_models:absent, optional: {str(optional).lower()}}}\nocclusion:",
    )
    outcome = changed.gate()
    text = said(outcome)
    assert "get them from example.org" in text
    assert_no_traceback(text)
    results = changed.results()
    if optional:
        assert outcome.ret == 0
        outcome.assert_outcomes(passed=8, skipped=8, deselected=6)
        assert results["summary"]["not_measured"] == 16 + 4
        assert "not measured: 20" in text
    else:
        assert outcome.ret == 1
        assert results["reason"] == "weights_absent"


def test_only_absent_weights_are_no_pass(changed):
    changed.edit(
        "phantom: {loader: models.phantom:load}", "a: {loader: my_models:absent, optional: true}"
    )
    outcome = changed.gate()
    assert outcome.ret == 1
    assert "nothing was measured" in said(outcome)


# --- properties ----------------------------------------------------------------------------


def test_a_broken_property_prints_a_line_that_replays_it(changed, pytester):
    outcome = changed.gate("--robustness-models=my_models:neighbours")
    assert outcome.ret == 1
    text = said(outcome)
    assert_no_traceback(text)
    assert "broken is that an image's embedding depends on that image and its mask alone" in text
    assert re.search(r"an image's embedding moves by 0\.\d+ with the batch around it", text)
    assert "occlusion: square:0.0:black:0, after" in text
    line = re.search(r"replay: pytest (.*independence.*)$", text, re.MULTILINE)[1]
    import shlex

    again = pytester.runpytest_inprocess(*shlex.split(line))
    again.assert_outcomes(failed=1, deselected=10)
    assert "after 1 examples" in said(again)


def test_a_property_bound_that_breaks_is_shrunk(repository):
    repository.edit("bound: hit@10 >= 0.3", "bound: hit@1 >= 1")
    outcome = repository.gate()
    assert outcome.ret == 1
    (record,) = [p for p in repository.results()["properties"] if p["property"] == "bound"]
    assert (record["verdict"], record["reason"]) == ("fail", "property_broken")
    assert record["occlusion"].endswith(":black:0")
    assert "hit@1 on 16 images is" in record["message"]


def test_a_model_that_sees_hidden_pixels_breaks_chance(changed, pytester):
    """The embedding leaks the image's place in the set, as a cache by name would."""
    (pytester.path / "my_leak.py").write_text(
        """
from my_models import Changed, load_phantom
class Leak(Changed):
    def preprocess(self, images):
        self.clean = getattr(self, "clean", self.inner.preprocess(images))
        return self.inner.preprocess(images)
    def encode_images(self, pixels):
        same = len(self.clean) == len(pixels)
        return self.inner.encode_images(self.clean if same else pixels)
def load(weights=None, device="cpu"):
    return Leak(load_phantom(None, device), "leak")
"""
    )
    changed.edit("noise: 0.3", "noise: 0.05")
    outcome = changed.gate(
        "--robustness-models=my_leak:load",
        "-k",
        "chance or independence",
        f"--robustness-store={pytester.path / 'fresh'}",
    )
    assert outcome.ret == 1
    broken = {p["property"] for p in changed.results()["properties"] if p["verdict"] == "fail"}
    assert "independence" in broken


# --- bad input: exit status 4, one line, no traceback ---------------------------------------


@pytest.mark.parametrize(
    ("arguments", "edit", "message"),
    [
        (["--robustness-thresholds=no.yaml"], None, "thresholds file no.yaml cannot be read"),
        ([], ("version: 1", "version: one"), "thresholds.yaml:1: the file.version is a whole"),
        ([], ("[square, grid]", "[square, box]"), "thresholds.yaml:6: unknown pattern 'box'"),
        ([], ("hit@10 >= 0.5", "hits >= 0.5"), "thresholds.yaml:10: unknown metric 'hits'"),
        ([], ("levels:", "level:"), "thresholds.yaml:8: unknown key 'level'"),
        ([], ("[0, 0.3]", "[0, 3]"), "thresholds.yaml:8: level 3 is outside 0 to 1"),
        (["--robustness-models=fantom"], None, "unknown model 'fantom' in --robustness-models"),
        (["--robustness-evalset=chest:9"], None, "unknown evaluation set 'chest:9'"),
        (["--robustness-weights=phantom"], None, "'phantom' is not NAME=PATH"),
        (["--robustness-weights=clip=x.pt"], None, "names model 'clip', which is not under test"),
        (["--robustness-batch-size=0"], None, "--robustness-batch-size is 0; it is at least 1"),
        (["--robustness-batch-size=x"], None, "invalid int value: 'x'"),
        (["--robustness-replay=box:1:red:0"], None, "--robustness-replay: occlusion 'box:1:red:0'"),
        (["--robustness-evalset=phantom:0"], None, "'phantom:0' is not phantom:N"),
        (["--robustness-evalset=open_i:nowhere"], None, "no folder nowhere/ecgen-radiology"),
        ([], ("phantom:48", "phantom:-1"), "thresholds.yaml:2: evaluation set 'phantom:-1'"),
        (["--robustness-evalset=phantom:many"], None, "phantom:many"),
    ],
)
def test_usage_errors(repository, arguments, edit, message):
    if edit:
        repository.edit(*edit)
    outcome = repository.gate(*arguments)
    assert outcome.ret == 4
    text = said(outcome)
    assert message in text
    assert_no_traceback(text)
    assert not (repository.path / ".robustness" / "report" / "results.json").exists()


def test_no_thresholds_file(repository):
    (repository.path / "thresholds.yaml").unlink()
    for arguments in ([], ["-n", "2"]):
        outcome = repository.gate(*arguments)
        assert outcome.ret == 4
        assert "thresholds.yaml cannot be read: No such file or directory" in said(outcome)


def test_no_thresholds_file_and_no_marker(repository, pytester):
    (repository.path / "thresholds.yaml").unlink()
    outcome = pytester.runpytest_inprocess()
    assert outcome.ret == 4
    assert "thresholds.yaml cannot be read" in said(outcome)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--robustness-evalset=open_i:empty"], "'open_i:empty' is empty"),
        (["--robustness-weights=phantom=nowhere.pt"], "nowhere.pt"),
        (["--robustness-weights=phantom=truncated.safetensors"], "truncated.safetensors"),
        (["--robustness-weights=phantom=other.safetensors"], "other.safetensors"),
        (["--robustness-weights=phantom=empty"], "empty"),
        (["--robustness-device=tpu"], "device 'tpu' cannot be used"),
        (["--robustness-device=cuda:99"], "device 'cuda:99' cannot be used"),
        (["--robustness-store=truncated.safetensors"], "store"),
    ],
)
def test_inputs_that_cannot_be_measured(repository, arguments, message):
    import torch
    from safetensors.torch import save_file

    (repository.path / "empty" / "ecgen-radiology").mkdir(parents=True)
    (repository.path / "truncated.safetensors").write_bytes(WEIGHTS.read_bytes()[:5000])
    save_file({"some.weight": torch.zeros(3)}, repository.path / "other.safetensors")
    outcome = repository.gate(*arguments)
    assert outcome.ret == 1
    text = said(outcome)
    assert message in text
    assert_no_traceback(text)
    results = repository.results()
    assert results["verdict"] == "fail"
    assert not any(item["verdict"] == "pass" for item in results["cases"] + results["properties"])


# --- around the gate -------------------------------------------------------------------------


def test_real_radiographs_fail_plainly(repository, open_i):
    """The reference encoder never saw one, so it is near chance, and the gate says so."""
    outcome = repository.gate(f"--robustness-evalset=open_i:{open_i}", "-k", "occlusion")
    assert outcome.ret == 1
    results = repository.results()
    assert results["reason"] == "bound_missed"
    clean = next(c for c in results["cases"] if c["level"] == 0)
    assert clean["metrics"]["hit@10"]["value"] < 10 * clean["chance"]["hit@10"]
    excluded = results["protocol"]["evalset"]["excluded"]
    assert excluded["study without a frontal view"] > 0


def test_a_damaged_store_entry_is_said(repository, tmp_path):
    folder = f"--robustness-store={tmp_path}"
    assert repository.gate(folder).ret == 0
    expected = comparable(repository.results())
    entry = min(tmp_path.glob("*/*.arrays"))
    entry.write_bytes(entry.read_bytes()[:-1])
    outcome = repository.gate(folder)
    assert outcome.ret == 0
    assert "store: damaged entries computed anew: 1" in said(outcome)
    assert comparable(repository.results()) == expected


def test_collection_is_light():
    script = (
        "import sys, pytest\n"
        "code = pytest.main(['--collect-only', '-q', '-m', 'robustness'])\n"
        "assert code == 0, code\n"
        "heavy = {'torch', 'transformers', 'open_clip', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_occlusion[phantom-square-30]" in done.stdout


def test_timing_runs_save_their_json(repository, pytester, store):
    outcome = pytester.runpytest_inprocess(
        "-m", "benchmark", f"--robustness-store={store}", "--benchmark-max-time=0.01"
    )
    assert outcome.ret == 0
    outcome.assert_outcomes(passed=3, deselected=8)
    saved = json.loads((repository.path / ".robustness" / "report" / "benchmark.json").read_text())
    assert {b["group"] for b in saved["benchmarks"]} == {"embed images", "embed reports", "rank"}
    assert not (repository.path / ".robustness" / "report" / "results.json").exists()


def test_the_plugin_keeps_quiet_where_there_is_no_gate(pytester):
    pytester.makepyfile("def test_nothing(): pass")
    outcome = pytester.runpytest_inprocess("-q")
    outcome.assert_outcomes(passed=1)
    assert "verdict" not in said(outcome)
    assert not (pytester.path / ".robustness").exists()
