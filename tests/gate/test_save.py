"""--robustness-save: content and names of baselines, and runs that are not saved."""

from __future__ import annotations

import shutil

import pytest
from support.gate_repository import BASELINES, assert_no_traceback, said
from support.one_verdict import agreed, run

from robustness.regression.baseline import Key
from robustness.regression.baseline_file import load


def saved_names(repository, folder=BASELINES):
    return sorted(path.name for path in (repository.path / folder).glob("*"))


def assert_not_saved(repository, outcome, why):
    """Check that the run fails, reports why no baseline is saved, and saves none."""
    assert outcome.ret != 0
    assert_no_traceback(said(outcome))
    results = repository.results()
    assert results["verdict"] == "fail"
    assert results["followup"]["saved"] is None
    (problem,) = results["followup"]["problems"]
    assert problem.startswith("baseline 'main' is not saved: ")
    assert why in problem
    assert f"not done: {problem}" in said(outcome)
    assert not saved_names(repository)


def test_a_baseline_has_the_ranks_of_every_query(saved_run):
    """Compute the metrics of results.json from them."""
    assert saved_run.outcome.ret == 0
    line = f"baseline saved: {BASELINES}/0001_main.safetensors"
    assert line in said(saved_run.outcome).splitlines()
    results = saved_run.results()
    assert results["followup"]["saved"] == f"{BASELINES}/0001_main.safetensors"
    own = load(saved_run.path / BASELINES / "0001_main.safetensors").models["phantom"]
    assert own.fingerprint == results["protocol"]["models"][0]["fingerprint"]
    assert len(own.patients) == results["protocol"]["evalset"]["images"] == 48
    assert len(own.ranks) == len(results["measurements"]) == 4
    for case in results["measurements"]:
        counts = own.ranks[Key("square", "black", case["level"], case["direction"])]
        assert not counts.equal.any(), "no tie among these scores"
        for k in (1, 5, 10):
            share = (counts.greater < k).mean()
            assert case["metrics"][f"hit@{k}"]["value"] == pytest.approx(share)


def test_names_are_numbered_and_nothing_is_overwritten(saved_run, small):
    shutil.copytree(saved_run.path / BASELINES, small.path / "kept")
    for name in ("v1.2", "main"):
        small.gate(f"--robustness-save={name}", "--robustness-baselines=kept", "-k", "occlusion")
    names = ["0001_main.safetensors", "0002_v1.2.safetensors", "0003_main.safetensors"]
    assert saved_names(small, "kept") == names


@pytest.mark.slow
def test_the_same_run_is_the_same_bytes_with_workers_too(small, pytester):
    arguments = ("--robustness-save=main", "-k", "occlusion")
    small.gate(*arguments)
    small.gate(*arguments)
    small.gate(*arguments, "-n", "2", run=pytester.runpytest_subprocess)
    assert small.results()["timing"]["processes"] == 2
    contents = {path.read_bytes() for path in (small.path / BASELINES).iterdir()}
    assert len(saved_names(small)) == 3
    assert len(contents) == 1


def test_a_run_that_misses_its_bounds_is_saved_and_fails(small):
    """Baselines are independent of bounds."""
    small.edit("hit@10 >= 0.4", "hit@1 >= 0.999")
    outcome = small.gate("--robustness-save=main", "-k", "occlusion")
    assert outcome.ret == 1
    assert small.results()["reason"] == "bound_missed"
    assert "baseline saved (of a run that fails): " in said(outcome)
    assert saved_names(small) == ["0001_main.safetensors"]


def test_absent_optional_weights_do_not_prevent_saving(changed):
    changed.edit("patterns: [square, grid]", "patterns: [square]")
    changed.edit("occlusion:", "  absent: {loader: my_models:absent, optional: true}\nocclusion:")
    changed.gate("--robustness-save=main", "-k", "occlusion")
    assert list(load(changed.path / BASELINES / "0001_main.safetensors").models) == ["phantom"]


# --- runs that are not saved ------------------------------------------------------------------


def test_a_part_of_the_cases(small):
    outcome = small.gate("--robustness-save=main", "-k", "square-30 or property")
    assert_not_saved(small, outcome, "2 of 4 measurements are missing; save a run of all the cases")


def test_no_case_at_all(small):
    outcome = small.gate("--robustness-save=main", "-k", "property")
    assert_not_saved(small, outcome, "4 of 4 measurements are missing")


@pytest.mark.parametrize("when", ["test_a", "test_zz"])
def test_a_run_that_is_interrupted(small, when):
    """A run interrupted after all measurements has no verdict either."""
    name = "test_release.py" if when == "test_zz" else "test_a.py"
    text = f"@pytest.mark.robustness\ndef {when}():\n    raise KeyboardInterrupt\n"
    line = "from robustness.suite import *\n" if when == "test_zz" else ""
    (small.path / name).write_text(f"import pytest\n{line}{text}")
    outcome = run(small, "--robustness-save=main")
    assert outcome.ret == 2
    assert_not_saved(small, outcome, "the run was interrupted; run it to its end")


def test_a_model_that_embeds_nan(changed):
    arguments = ("--robustness-models=my_models:nan", "-k", "occlusion")
    outcome = changed.gate("--robustness-save=main", *arguments)
    assert outcome.ret == 1
    assert_not_saved(changed, outcome, "16 of 16 measurements are missing")
    results = changed.results()
    assert results["reason"] == results["measurements"][0]["reason"], (
        "the first failure is the reason"
    )


def test_one_model_of_two_that_fails(changed):
    """An incomplete baseline would be taken for a complete one."""
    changed.edit("patterns: [square, grid]", "patterns: [square]")
    changed.edit("occlusion:", "  broken: {loader: my_models:shape}\nocclusion:")
    outcome = changed.gate("--robustness-save=main", "-k", "occlusion")
    assert_not_saved(changed, outcome, "8 of 16 measurements are missing")


def test_a_run_with_a_regression_is_not_saved_unless_accepted(saved_run, small, worse):
    """Otherwise the next run would be compared with the worse one and pass."""
    cases = ("-k", "occlusion")
    shutil.copytree(saved_run.path / BASELINES, small.path / BASELINES)
    assert small.gate("--robustness-compare=main", "--robustness-save=main", worse, *cases).ret == 1
    assert small.results()["reason"] == "regression"
    (problem,) = small.results()["followup"]["problems"]
    assert problem == (
        "baseline 'main' is not saved: this run failed the comparison with baseline 0001_main;"
        " to accept it, save it without --robustness-compare"
    )
    assert saved_names(small) == ["0001_main.safetensors"]
    small.gate("--robustness-save=main", worse, *cases)
    assert small.gate("--robustness-compare=main", worse).ret == 0


def test_a_folder_that_cannot_be_written_fails_a_run_that_passed(small):
    (small.path / "file").write_text("")
    outcome = run(small, "--robustness-save=main", "--robustness-baselines=file")
    assert outcome.ret == 1
    assert agreed(small, outcome).reason == "baseline_failed"
    assert_not_saved_by_disk(small, outcome)


def assert_not_saved_by_disk(repository, outcome):
    (problem,) = repository.results()["followup"]["problems"]
    assert "cannot be" in problem
    assert "Not a directory" in problem
    assert f"not done: {problem}" in said(outcome)
    assert repository.results()["summary"]["failed"] == 0


def test_a_full_disk_leaves_no_part_of_a_file(small, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("robustness.regression.baseline_file.write_whole", full)
    outcome = small.gate("--robustness-save=main")
    assert outcome.ret == 1
    assert small.results()["reason"] == "baseline_failed"
    message = small.results()["message"]
    assert "cannot be written to" in message
    assert "No space left on device; name another folder" in message
    assert not saved_names(small)


@pytest.mark.parametrize("name", ["a/b", "..", "a b"])
def test_names_that_cannot_be(small, name):
    outcome = small.gate(f"--robustness-save={name}")
    assert outcome.ret == 4
    assert f"--robustness-save: invalid baseline name {name!r}; up to 100 letters, digits" in said(
        outcome
    )
    assert not saved_names(small)
