"""Failing gate runs: reasons, messages and commands that repeat them."""

from __future__ import annotations

import re
import shlex

import pytest
from support.gate_repository import RUNNERS, assert_no_traceback, noisy, said

# --- bounds and commands -----------------------------------------------------------------


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


def test_the_command_of_a_failure_repeats_it(repository, pytester):
    repository.edit("hit@10 >= 0.4", "hit@1 >= 0.999")
    text = said(repository.gate("--robustness-models=phantom"))
    command = re.search(r"next: pytest (.*phantom-grid-30)$", text, re.MULTILINE)[1]
    outcome = pytester.runpytest_inprocess(*command.split())
    outcome.assert_outcomes(failed=1)


@pytest.mark.slow
def test_the_commands_of_a_model_of_any_name_run_its_cases(small, pytester):
    pytester.mkdir("ours not (yet) @2 modèle")
    asked = "--robustness-models=open_clip:ours not (yet) @2 modèle"
    outcome = small.gate(asked, "-k", "square-30 or chance", run=pytester.runpytest_subprocess)
    found = re.findall(r"^  (?:next|replay): pytest (.*)$", said(outcome), re.MULTILINE)
    lines = list(dict.fromkeys(found))  # with CI set, pytest's summary repeats the output
    assert len(lines) == 2
    for line, case in zip(lines, ("-square-30]", "-chance]"), strict=True):
        shown = pytester.runpytest_inprocess("--collect-only", "-q", *shlex.split(line)).outlines
        collected = [line for line in shown if "::" in line]
        assert len(collected) == 1
        assert collected[0].endswith(case)


@pytest.mark.parametrize("xdist", RUNNERS, ids=" ".join)
def test_the_commands_of_a_run_of_some_files_name_them(small, pytester, xdist):
    """Pytest does not collect these files by default."""
    (small.path / "tests").mkdir()
    (small.path / "checks of ours").mkdir()
    (small.path / "test_release.py").rename(small.path / "checks of ours" / "release.py")
    pytester.makeini("[pytest]\ntestpaths = tests\naddopts = -m 'not robustness'")
    small.edit("hit@10 >= 0.4", "hit@1 >= 0.999")
    small.edit("bound: hit@10 >= 0.3", "bound: hit@1 >= 1")
    text = said(small.gate("checks of ours/release.py", *xdist))
    for line in ("next: pytest (.*square-30)$", "replay: pytest (.*bound.*)$"):
        command = shlex.split(re.search(line, text, re.MULTILINE)[1])
        assert "checks of ours/release.py" in command
        pytester.runpytest_inprocess(*command).assert_outcomes(failed=1)


def test_the_commands_of_a_package_of_tests_name_it(small, pytester):
    package = small.path / "elsewhere" / "our_checks"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (small.path / "test_release.py").rename(package / "test_release.py")
    pytester.syspathinsert(package.parent)
    small.edit("hit@10 >= 0.4", "hit@1 >= 0.999")
    pytester.mkdir("tests")
    pytester.makeini("[pytest]\ntestpaths = tests")
    text = said(small.gate("--pyargs", "our_checks.test_release"))
    command = re.search(r"next: pytest (.*square-30)$", text, re.MULTILINE)[1]
    pytester.runpytest_inprocess(*command.split()).assert_outcomes(failed=1)


def test_the_commands_of_a_default_collection_name_no_file(small, pytester):
    pytester.makeini("[pytest]\ntestpaths = .")
    small.edit("hit@10 >= 0.4", "hit@1 >= 0.999")
    assert re.search(r"next: pytest -m robustness --robustness-store=\S+ -k", said(small.gate()))


@pytest.mark.parametrize("xdist", RUNNERS, ids=" ".join)
def test_the_commands_of_a_run_by_another_configuration_name_it(small, pytester, xdist):
    """Otherwise the command would read the thresholds file of another root."""
    ours = small.path / "our root"
    ours.mkdir()
    (small.path / "thresholds.yaml").rename(ours / "thresholds.yaml")
    (small.path / "our settings.ini").write_text("[pytest]\npython_files = nothing_else_*.py\n")
    (small.path / "test_release.py").rename(small.path / "nothing_else_here.py")
    file = ours / "thresholds.yaml"
    file.write_text(file.read_text().replace("hit@10 >= 0.4", "hit@1 >= 0.999"))
    asked = ["-c", "our settings.ini", f"--rootdir={ours}", "-o", "console_output_style=count"]
    run = pytester.runpytest_subprocess
    text = said(small.gate(*asked, *xdist, "-k", "square-30", run=run))
    line = re.search(r"^  next: pytest (.*)$", text, re.MULTILINE)[1]
    assert [argument for argument in asked if argument in shlex.split(line)] == asked
    outcome = run(*shlex.split(line))
    outcome.assert_outcomes(failed=1)
    assert "hit@1 is" in said(outcome)


def test_weights_of_lower_quality(repository, tmp_path):
    noisy(tmp_path / "noisy.safetensors", 1.5)
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


def test_a_part_of_the_cases_does_not_pass(repository):
    outcome = repository.gate("-k", "phantom-square-30")
    assert outcome.ret == 1
    outcome.assert_outcomes(passed=1)
    results = repository.results()
    assert (results["verdict"], results["reason"]) == ("fail", "not_run")
    assert "not measured: 16 (not run: deselected or skipped)" in said(outcome)
    assert sum(cell["verdict"] == "pass" for cell in results["measurements"]) == 4


def test_an_empty_selection_does_not_pass(repository):
    outcome = repository.gate("-k", "no-such-case")
    assert outcome.ret != 0
    assert "or no test file has 'from robustness.suite import *'" in said(outcome)
    assert repository.results()["verdict"] == "fail"


@pytest.mark.parametrize(
    ("kind", "reason", "message"),
    [
        ("tuple_", "embedding_malformed", "images as a tuple; the contract is torch.float32 of"),
        ("nameless", "loader_unusable", "returned a Changed without fingerprint; set it"),
    ],
)
def test_faulty_models(changed, kind, reason, message):
    """See tests/sabotage/test_models.py for the others."""
    outcome = changed.gate(f"--robustness-models=my_models:{kind}")
    assert outcome.ret == 1
    text = said(outcome)
    assert message in text
    assert_no_traceback(text)
    results = changed.results()
    assert (results["verdict"], results["reason"]) == ("fail", reason)
    assert not any(cell["verdict"] == "pass" for cell in results["measurements"])


def test_a_missing_loader_module(repository):
    outcome = repository.gate("--robustness-models=no_such_package.models:load")
    assert outcome.ret == 1
    assert "module 'no_such_package.models' cannot be imported" in said(outcome)
    assert_no_traceback(said(outcome))


def test_a_loader_with_a_bug_shows_its_traceback_and_fails(changed):
    outcome = changed.gate("--robustness-models=my_models:crash", "-k", "occlusion")
    assert outcome.ret == 1
    assert "a bug in the loader" in said(outcome)
    assert changed.results()["reason"] == "crashed"
    messages = {case["message"] for case in changed.results()["measurements"]}
    assert all(m.endswith("see its failure: RuntimeError: a bug in the loader") for m in messages)


@pytest.mark.slow
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
    assert not any(cell["verdict"] == "pass" for cell in results["measurements"])


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
        outcome.assert_outcomes(passed=8, skipped=8)
        assert results["summary"]["not_measured"] == 16 + 4
        assert "not measured: 20 (weights of 'absent'" in text
    else:
        assert outcome.ret == 1
        assert results["reason"] == "weights_absent"


def test_a_run_without_any_weights_does_not_pass(changed):
    changed.edit(
        "phantom: {loader: robustness.models.phantom:load}",
        "a: {loader: my_models:absent, optional: true}",
    )
    outcome = changed.gate()
    assert outcome.ret == 1
    assert "nothing was measured" in said(outcome)


# --- properties ----------------------------------------------------------------------------


def test_a_broken_property_prints_a_command_that_replays_it(changed, pytester):
    outcome = changed.gate("--robustness-models=my_models:neighbours")
    assert outcome.ret == 1
    text = said(outcome)
    assert_no_traceback(text)
    assert "broken property: an image's embedding depends on that image and its mask alone" in text
    assert re.search(r"an image's embedding changes by 0\.\d+ with the batch around it", text)
    assert "occlusion: square:0.01:black:0, after" in text
    line = re.search(r"replay: pytest (.*independence.*)$", text, re.MULTILINE)[1]
    again = pytester.runpytest_inprocess(*shlex.split(line))
    again.assert_outcomes(failed=1)
    assert "after 1 example\n" in said(again)


def test_a_property_bound_that_breaks_is_shrunk(repository):
    repository.edit("bound: hit@10 >= 0.3", "bound: hit@1 >= 1")
    outcome = repository.gate()
    assert outcome.ret == 1
    (record,) = [p for p in repository.results()["properties"] if p["property"] == "bound"]
    assert (record["verdict"], record["reason"]) == ("fail", "property_broken")
    assert record["occlusion"].endswith(":black:0")
    assert "hit@1 on 16 images is" in record["message"]


def test_a_model_that_sees_hidden_pixels_breaks_independence(changed, pytester):
    """The embedding depends on the image's position, like that of a cache by name."""
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
