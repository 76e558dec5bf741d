"""Errors before the first case: reported once, in one line, with and without pytest-xdist."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.gate_repository import assert_no_traceback, said

from robustness.errors import StoreError
from robustness.plugin.preflight import require_store

GATE, XDIST = ["-m", "robustness"], ["-n", "2"]
"""Without ``-m robustness``, the controller does not know that the run includes the gate."""


def errors(outcome):
    lines = [*outcome.stdout.lines, *outcome.stderr.lines]
    return [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]


def refused(repository, outcome, line):
    """Check that a run was refused in one line and left no report of an earlier run."""
    assert outcome.ret == 4
    assert errors(outcome) == [line]
    text = said(outcome)
    assert_no_traceback(text)
    assert "FAILED" not in text
    assert "verdict:" not in text
    assert not list(repository.path.glob(".robustness/report/*"))


@pytest.fixture
def judged(repository):
    """Repository with the report of an earlier run."""
    folder = repository.path / ".robustness" / "report"
    folder.mkdir(parents=True)
    for name in ("results.json", "report.html"):
        (folder / name).write_text('{"verdict": "pass"}')
    return repository


def named():
    """Return the devices of this machine."""
    import torch

    count = torch.cuda.device_count()
    return ["auto", "cpu", *(["cuda"] if count else []), *(f"cuda:{i}" for i in range(count))]


@pytest.mark.parametrize(
    ("device", "asked"),
    [("tpu", GATE), ("cuda:99", []), ("cuda:99", XDIST)],
)
def test_a_device_that_is_not_there(judged, pytester, store, device, asked):
    outcome = pytester.runpytest_inprocess(
        *asked, f"--robustness-device={device}", f"--robustness-store={store}"
    )
    allowed = ", ".join(named())
    line = f"device '{device}' cannot be used: torch finds none such here; allowed are {allowed}"
    refused(judged, outcome, f"{line} [unknown_device]")


@pytest.mark.parametrize(
    ("place", "asked"), [("taken", GATE), ("taken/deeper/still", []), ("taken", GATE + XDIST)]
)
def test_a_store_that_is_a_file(judged, pytester, place, asked):
    (judged.path / "taken").write_text("a file")
    outcome = pytester.runpytest_inprocess(*asked, f"--robustness-store={place}")
    line = (
        f"store {place} cannot be used: Not a directory; name a writable folder with"
        " --robustness-store [store_failed]"
    )
    refused(judged, outcome, line)
    assert (judged.path / "taken").read_text() == "a file"


@pytest.fixture
def ordinary():
    """Drop superuser rights, which allow writing everywhere."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(("made", "problem"), [(True, "written to"), (False, "used")])
def test_a_store_that_cannot_be_written_to(tmp_path, monkeypatch, request, made, problem):
    (tmp_path / "store" / "locks").mkdir(parents=True)
    for folder in (tmp_path / "store", tmp_path):
        folder.chmod(0o555)
    # Use a relative path: the parent folders are accessible to their owner only.
    monkeypatch.chdir(tmp_path)
    request.getfixturevalue("ordinary")
    place = Path("store" if made else "new")
    with pytest.raises(StoreError, match=f"^store {place} cannot be {problem}: Permission denied;"):
        require_store(place)


def test_a_store_is_made_and_left_empty(tmp_path):
    require_store(tmp_path / "new" / "store")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_runs_without_measurements_check_no_device_or_store(repository, pytester):
    (repository.path / "taken").write_text("a file")
    pytester.makepyfile(test_other="def test_other(): pass")
    wrong = ["--robustness-device=tpu", "--robustness-store=taken"]
    assert pytester.runpytest_inprocess("test_other.py", *wrong).ret == 0
    assert repository.gate("--collect-only", *wrong).ret == 0
    assert not (repository.path / ".robustness").exists()


def test_conformance_on_a_missing_device_is_refused(repository, pytester):
    """Conformance cases do not count for the verdict, so an earlier report stays."""
    left = repository.path / ".robustness" / "report" / "results.json"
    left.parent.mkdir(parents=True)
    left.write_text('{"verdict": "pass"}')
    outcome = pytester.runpytest_inprocess("-m", "conformance", "--robustness-device=tpu")
    assert outcome.ret == 4
    (error,) = errors(outcome)
    assert error.startswith("device 'tpu' cannot be used")
    assert left.exists()


@pytest.mark.parametrize("asked", [["-m", "conformance"], [], XDIST], ids=" ".join)
def test_no_thresholds_file(repository, pytester, asked):
    (repository.path / "thresholds.yaml").unlink()
    outcome = pytester.runpytest_inprocess(*asked)
    assert outcome.ret == 4
    (error,) = errors(outcome)
    assert error.startswith("thresholds file thresholds.yaml cannot be read: No such file")
    assert "INTERNALERROR" not in said(outcome)
