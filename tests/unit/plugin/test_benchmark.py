"""Timing runs: what is asked for, what is waited for, what is written down."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest
import torch
from support.gate_repository import assert_no_traceback, said

from robustness._util import environment
from robustness.suite._timing import synchronised


def test_cuda_is_waited_for_before_and_after(monkeypatch):
    happened = []
    monkeypatch.setattr(
        torch.cuda, "synchronize", lambda device: happened.append(f"wait for {device}")
    )

    def work(*args, **kwargs):
        happened.append((args, kwargs))
        return "done"

    assert synchronised(work, "cuda:1")(1, by=2) == "done"
    assert happened == ["wait for cuda:1", ((1,), {"by": 2}), "wait for cuda:1"]


def test_other_devices_are_not_waited_for():
    assert synchronised(len, "cpu") is len


def test_timings_beside_others_are_refused(repository, pytester, store):
    for workers in ("2", "0"):
        outcome = pytester.runpytest_subprocess(
            "-m", "benchmark", f"-n{workers}", f"--robustness-store={store}", "--collect-only"
        )
        assert_no_traceback(said(outcome))
        refused = "ERROR: -m benchmark with -n: processes on one machine would slow each other down"
        assert (refused in said(outcome)) == (outcome.ret == 4) == (workers == "2")


def test_the_json_says_what_timings_depend_on(repository, pytester, store):
    outcome = pytester.runpytest_inprocess(
        "-m", "benchmark", "-k", "rank", f"--robustness-store={store}", "--benchmark-max-time=0.01"
    )
    assert outcome.ret == 0
    saved = json.loads((repository.path / ".robustness/report/benchmark.json").read_text())
    facts = saved["machine_info"]["robustness"]
    assert facts["packages"]["torch"] == version("torch")
    assert facts["packages"]["open_clip_torch"] == version("open_clip_torch")
    assert facts["cores"] >= 1
    assert facts["cuda"] == torch.version.cuda
    assert facts == environment.timing_facts(), "the same machine, before and after"
    assert len(saved["gpus"]) == len(facts["gpus"])
    assert saved["machine_info"]["cpu"]["brand_raw"]
    (timed,) = saved["benchmarks"]
    assert timed["extra_info"] == {"items": 48, "device": "cpu"}


@pytest.mark.parametrize("arguments", [[], ["-m", "not benchmark"]])
def test_a_run_of_somebody_elses_is_left_alone(pytester, arguments):
    pytester.makepyfile("def test_speed(benchmark): benchmark(len, 'x')")
    outcome = pytester.runpytest_inprocess("--benchmark-json=out.json", *arguments)
    assert outcome.ret == 0
    saved = json.loads((pytester.path / "out.json").read_text())
    assert "robustness" not in saved["machine_info"]


@pytest.mark.parametrize("beside", [[], ["-n", "1"]], ids=" ".join)
def test_timings_of_a_repository_without_a_gate_are_left_alone(pytester, beside):
    pytester.makepyfile(
        "import pytest\n@pytest.mark.benchmark\ndef test_speed(benchmark): benchmark(len, 'x')"
    )
    outcome = pytester.runpytest_inprocess("-m", "benchmark", "--benchmark-max-time=.01", *beside)
    assert outcome.ret == 0
    outcome.assert_outcomes(passed=1)
    assert not (pytester.path / ".robustness").exists()


def test_a_folder_that_timings_cannot_be_written_to(repository, pytester):
    place = "--robustness-report=thresholds.yaml/inside"
    outcome = pytester.runpytest_inprocess("-m", "benchmark", place)
    assert outcome.ret == 4
    (line,) = [line for line in outcome.stderr.lines if line]
    assert line == (
        "ERROR: timings thresholds.yaml/inside cannot be written: Not a directory; name another"
        " folder with --robustness-report [report_unwritable]"
    )


def test_a_run_of_timings_alone_is_not_judged(small, pytester, store):
    """pytest-benchmark skips the gate's cases then: they were not asked for."""
    alone = ["--benchmark-only", "--benchmark-max-time=.01", f"--robustness-store={store}"]
    outcome = pytester.runpytest_inprocess(*alone)
    assert outcome.ret == 0
    assert outcome.parseoutcomes()["passed"] == 3
    assert "verdict" not in said(outcome)
    assert not (small.path / ".robustness/report/results.json").exists()
    assert pytester.runpytest_inprocess(*alone, "-m", "robustness").ret == 1
    assert small.results()["verdict"] == "fail"
