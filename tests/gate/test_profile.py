"""Time, memory and precision in the results."""

from __future__ import annotations

import json
import re

import pytest
from support.gate_repository import BASELINES, REPORT, comparable, said

from robustness._util.profile import FORWARD, IMAGES, LOADING, OF_IMAGES, PHASES, STARTING, STORE


def profile_of(results):
    return results["timing"]["profile"]


def test_the_profile_of_a_first_run(good_run):
    profile = profile_of(good_run.results("out"))
    phases = profile["phases"]
    assert set(phases) <= set(PHASES)
    assert {STARTING, LOADING, IMAGES, STORE} <= set(phases)
    assert phases[LOADING]["items"] == 1
    # Clean images once, level 0.3 in both fills and patterns, and the properties' images.
    assert phases[IMAGES]["items"] >= 48 * 5
    timing = good_run.results("out")["timing"]
    measured = sum(phase["seconds"] for phase in phases.values())
    assert 0 < measured <= profile["seconds"] + 0.01
    assert profile["seconds"] <= timing["seconds"]
    seconds = sum(phases[name]["seconds"] for name in OF_IMAGES if name in phases)
    assert profile["images_per_second"] == pytest.approx(
        phases[IMAGES]["items"] / seconds, rel=0.01
    )
    forward = sum(phases[name]["seconds"] for name in FORWARD)
    assert profile["forward_share"] == pytest.approx(forward / profile["seconds"], abs=0.001)
    assert 50 < profile["peak_memory_mb"] < 50_000
    assert profile["peak_device_memory_mb"] is None
    assert re.search(
        r"^time: [\d.]+ s; .*\d+ % forward passes \([\d,.]+ images/s\)",
        said(good_run.outcome),
        re.MULTILINE,
    )
    page = (good_run.path / "out/report.html").read_text()
    assert "<h2>Time</h2>" in page


def test_a_second_run_embeds_nothing(repository, tmp_path):
    for _ in range(2):
        assert repository.gate(f"--robustness-store={tmp_path / 'store'}").ret == 0
    profile = profile_of(repository.results())
    phases = profile["phases"]
    assert not any(phases.get(name, {}).get("items") for name in (IMAGES, "decoding"))
    assert profile["images_per_second"] is None


@pytest.mark.slow
def test_profiles_of_workers_are_summed_and_only_they_differ(
    good_run, repository, pytester, tmp_path
):
    alone = good_run.results("out")
    store = f"--robustness-store={tmp_path}"
    assert repository.gate(store, "-n", "2", run=pytester.runpytest_subprocess).ret == 0
    shared = repository.results()
    assert shared["timing"]["processes"] == 2
    phases = [run["timing"]["profile"]["phases"] for run in (alone, shared)]
    assert phases[0][IMAGES]["items"] == phases[1][IMAGES]["items"], "no image is embedded twice"
    assert phases[1][LOADING]["items"] == 2
    assert comparable(alone).keys() == comparable(shared).keys()
    assert json.dumps(alone["protocol"]) == json.dumps(shared["protocol"])


def test_the_precision_is_in_the_results_and_in_the_comparison(saved_run, small):
    assert saved_run.results()["protocol"]["precision"] == "float32"
    outcome = small.gate(
        f"--robustness-baselines={saved_run.path / BASELINES}",
        "--robustness-compare",
        "--robustness-precision=bfloat16",
        *("-k", "square-0"),
    )
    results = small.results()
    assert results["protocol"]["precision"] == "bfloat16"
    assert results["comparison"]["precision"] == {"here": "bfloat16", "baseline": "float32"}
    assert {case["reason"] for case in results["comparison"]["comparisons"]} <= {"ok", "regression"}
    assert "forward passes in bfloat16 here and in float32 in the baseline" in said(outcome)
    assert "bfloat16" in (small.path / REPORT / "report.html").read_text()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_stored_embeddings_pass_their_audit_in_any_precision(repository, tmp_path, precision):
    arguments = (f"--robustness-store={tmp_path}", f"--robustness-precision={precision}")
    repository.gate(*arguments, "-k", "independence")
    (record,) = [p for p in repository.results()["properties"] if p["property"] == "independence"]
    assert (record["verdict"], record["reason"]) == ("pass", "ok")
    assert repository.results()["timing"]["store"]["computed"] > 0
