"""What a run says of its time, its memory and its precision."""

from __future__ import annotations

import json
import re

import pytest
from support.gate_repository import comparable, said

from robustness._util.profile import FORWARD, IMAGES, LOADING, OF_IMAGES, PHASES, STARTING, STORE


def spent(repository):
    return repository.results()["timing"]["profile"]


def test_a_first_run_says_where_its_time_went(repository, tmp_path):
    outcome = repository.gate(f"--robustness-store={tmp_path / 'store'}")
    assert outcome.ret == 0
    profile = spent(repository)
    phases = profile["phases"]
    assert set(phases) <= set(PHASES)
    assert {STARTING, LOADING, IMAGES, STORE} <= set(phases)
    assert phases[LOADING]["items"] == 1
    # Clean once, either level in both fills and patterns, and what the properties tried.
    assert phases[IMAGES]["items"] >= 48 * 5
    timing = repository.results()["timing"]
    measured = sum(phase["seconds"] for phase in phases.values())
    assert 0 < measured <= profile["seconds"] + 0.01
    assert profile["seconds"] <= timing["seconds"]
    took = sum(phases[name]["seconds"] for name in OF_IMAGES if name in phases)
    assert profile["images_per_second"] == pytest.approx(phases[IMAGES]["items"] / took, rel=0.01)
    forward = sum(phases[name]["seconds"] for name in FORWARD)
    assert profile["forward_share"] == pytest.approx(forward / profile["seconds"], abs=0.001)
    assert 50 < profile["peak_memory_mb"] < 50_000
    assert profile["peak_device_memory_mb"] is None
    assert re.search(
        r"^time: [\d.]+ s; .*\d+ % forward passes \([\d,.]+ images/s\)", said(outcome), re.MULTILINE
    )
    page = (repository.path / ".robustness/report/report.html").read_text()
    assert "Where the time went" in page


def test_a_second_run_embeds_nothing(repository, tmp_path):
    for _ in range(2):
        assert repository.gate(f"--robustness-store={tmp_path / 'store'}").ret == 0
    phases = spent(repository)["phases"]
    assert not any(phases.get(name, {}).get("items") for name in (IMAGES, "decoding"))
    assert spent(repository)["images_per_second"] is None


@pytest.mark.slow
def test_workers_are_added_up_and_their_profile_is_all_that_differs(repository, pytester, tmp_path):
    one, two = (f"--robustness-store={tmp_path / name}" for name in "ab")
    assert repository.gate(one).ret == 0
    alone = repository.results()
    assert repository.gate(two, "-n", "2", run=pytester.runpytest_subprocess).ret == 0
    shared = repository.results()
    assert shared["timing"]["processes"] == 2
    phases = [run["timing"]["profile"]["phases"] for run in (alone, shared)]
    assert phases[0][IMAGES]["items"] == phases[1][IMAGES]["items"], "nothing is embedded twice"
    assert phases[1][LOADING]["items"] == 2
    assert comparable(alone).keys() == comparable(shared).keys()
    assert json.dumps(alone["protocol"]) == json.dumps(shared["protocol"])


def test_the_precision_is_in_the_result_and_beside_the_baseline(repository, tmp_path):
    kept = f"--robustness-baselines={tmp_path}"
    only = ("-k", "square-0")
    repository.gate(kept, "--robustness-save=main", "-k", "occlusion")
    assert repository.results()["protocol"]["precision"] == "float32"
    outcome = repository.gate(
        kept, "--robustness-compare", "--robustness-precision=bfloat16", *only
    )
    results = repository.results()
    assert results["protocol"]["precision"] == "bfloat16"
    assert results["comparison"]["precision"] == {"here": "bfloat16", "baseline": "float32"}
    assert {case["reason"] for case in results["comparison"]["comparisons"]} <= {"ok", "regression"}
    assert "forward passes in bfloat16 here and in float32 in the baseline" in said(outcome)
    assert "bfloat16" in (repository.path / ".robustness/report/report.html").read_text()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_what_the_store_holds_is_seen_to_be_right_in_any_precision(repository, tmp_path, precision):
    arguments = (f"--robustness-store={tmp_path}", f"--robustness-precision={precision}")
    repository.gate(*arguments, "-k", "independence")
    (record,) = [p for p in repository.results()["properties"] if p["property"] == "independence"]
    assert (record["verdict"], record["reason"]) == ("pass", "ok")
    assert repository.results()["timing"]["store"]["computed"] > 0
