"""Invalid input: one line, exit status 4 or a failed case, no traceback."""

from __future__ import annotations

import shutil

import pytest
from support.gate_repository import REPORT, WEIGHTS, assert_no_traceback, said

# --- bad input: exit status 4, one line, no traceback ---------------------------------------


@pytest.mark.parametrize(
    ("arguments", "edit", "message"),
    [
        (["--robustness-thresholds=no.yaml"], None, "thresholds file no.yaml cannot be read"),
        ([], ("version: 1", "version: one"), "thresholds.yaml:1:10: version must be a whole"),
        ([], ("[square, grid]", "[square, box]"), "thresholds.yaml:6:22: unknown pattern 'box'"),
        ([], ("hit@10 >= 0.5", "hits >= 0.5"), "thresholds.yaml:10:26: unknown metric 'hits'"),
        ([], ("levels:", "level:"), "thresholds.yaml:8:3: unknown key 'level'"),
        ([], ("[0, 0.3]", "[0, 3]"), "thresholds.yaml:8:15: occlusion.levels[1] is 3; it must"),
        (["--robustness-models=fantom"], None, "unknown model 'fantom' in --robustness-models"),
        (["--robustness-evalset=chest:9"], None, "unknown evaluation set 'chest:9'"),
        (["--robustness-weights=phantom"], None, "'phantom' is not NAME=PATH"),
        (["--robustness-weights=clip=x.pt"], None, "names model 'clip', which is not under test"),
        (["--robustness-batch-size=0"], None, "--robustness-batch-size is 0; it is at least 1"),
        (
            ["--robustness-precision=half"],
            None,
            "-precision 'half' is unknown; allowed are",
        ),
        (["--robustness-batch-size=x"], None, "invalid int value: 'x'"),
        (["--robustness-replay=box:1:red:0"], None, "--robustness-replay: occlusion 'box:1:red:0'"),
        (["--robustness-evalset=phantom:0"], None, "'phantom:0' is not phantom:N"),
        (["--robustness-evalset=open_i:nowhere"], None, "no folder nowhere; name the folder"),
        ([], ("phantom:48", "phantom:-1"), "thresholds.yaml:2:10: evaluation set 'phantom:-1'"),
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


def test_an_evaluation_set_option_replaces_a_missing_set_of_the_file(repository):
    repository.edit("phantom:48", "open_i:nowhere")
    assert "thresholds.yaml:2:10: evaluation set 'open_i:nowhere'" in said(repository.gate("--co"))
    assert repository.gate("--co", "--robustness-evalset=phantom:48").ret == 0
    repository.edit("open_i:nowhere", "[open_i]")
    outcome = repository.gate("--co", "--robustness-evalset=phantom:48")
    assert outcome.ret == 4
    assert "evalset must be text, not a list" in said(outcome)


def test_no_thresholds_file(repository):
    (repository.path / "thresholds.yaml").unlink()
    for arguments in ([], ["-n", "2"]):
        outcome = repository.gate(*arguments)
        assert outcome.ret == 4
        assert "thresholds.yaml cannot be read: No such file or directory" in said(outcome)


def test_no_thresholds_file_and_no_marker(repository, pytester):
    (repository.path / "thresholds.yaml").unlink()
    left = repository.path / ".robustness" / "report" / "results.json"
    left.parent.mkdir(parents=True)
    left.write_text('{"verdict": "pass"}')
    outcome = pytester.runpytest_inprocess()
    assert outcome.ret == 4
    assert not left.exists(), "the report of an earlier run is removed"
    assert "thresholds.yaml cannot be read" in said(outcome)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--robustness-evalset=open_i:empty"], "/empty' is empty"),
        (["--robustness-weights=phantom=nowhere.pt"], "nowhere.pt"),
        (["--robustness-weights=phantom=truncated.safetensors"], "truncated.safetensors"),
        (["--robustness-weights=phantom=other.safetensors"], "other.safetensors"),
        (["--robustness-weights=phantom=empty"], "empty"),
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
    assert not any(
        item["verdict"] == "pass" for item in results["measurements"] + results["properties"]
    )


@pytest.mark.parametrize(
    "name",
    ["models", "evalset", "thresholds", "weights", "option", "device", "store", "report", "save"],
)
@pytest.mark.parametrize("value", ["", " "])
def test_empty_values_are_refused(repository, name, value):
    outcome = repository.gate(f"--robustness-{name}={value}")
    assert outcome.ret == 4
    assert f"--robustness-{name} is empty; give it a value or omit it" in said(outcome)


def test_a_missing_checkpoint_is_not_reported_as_a_loader_bug(repository, pytester):
    (repository.path / "my_loader.py").write_text(
        "from pathlib import Path\n"
        "def load(weights=None, device='cpu'):\n"
        "    return Path(weights).read_bytes()\n"
    )
    pytester.syspathinsert()
    asked = "--robustness-models=my_loader:load"
    outcome = repository.gate(asked, "--robustness-weights=my_loader:load=nowhere.pt")
    assert outcome.ret == 1
    assert_no_traceback(said(outcome))
    assert "nowhere.pt' not found; name the checkpoint with" in said(outcome)
    assert repository.results()["reason"] == "weights_absent"


@pytest.mark.parametrize("place", ["no_such_file.py", "test_release.py::test_nothing"])
def test_a_missing_test_file_removes_an_earlier_report(small_run, small, place):
    shutil.copytree(small_run.path / REPORT, small.path / REPORT)
    assert small.gate(place).ret == 4
    assert not list((small.path / REPORT).iterdir())


def test_an_empty_report_folder_is_not_the_current_folder(repository):
    """A refused run removes reports of earlier runs only from the report folder."""
    theirs = [repository.path / name for name in ("results.json", "report.html")]
    for file in theirs:
        file.write_text("theirs")
    assert repository.gate("--robustness-report=").ret == 4
    assert all(file.exists() for file in theirs)
