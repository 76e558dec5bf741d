"""Passing gate runs: output, results, repeats."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.gate_repository import assert_no_traceback, comparable, said

# --- a good run ------------------------------------------------------------------------


def test_a_run_that_passes(good_run):
    outcome = good_run.outcome
    assert outcome.ret == 0
    outcome.assert_outcomes(passed=8)
    text = said(outcome)
    assert "test_release.py::test_occlusion[phantom-square-30] PASSED" in text
    assert re.search(r"^model +pattern +0% +30% +verdict$", text, re.MULTILINE)
    assert re.search(r"^phantom +square +[.\d]+ +[.\d]+ +PASS$", text, re.MULTILINE)
    assert re.search(r"^phantom +grid +[.\d]+ +[.\d]+ +PASS$", text, re.MULTILINE)
    assert "properties: 4 of 4 hold" in text
    assert "verdict: PASS" in text


def test_results_have_the_documented_content(good_run):
    results = good_run.results("out")
    cells = results["measurements"]
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
                # Chance finds all of 48 images among 100: retention is undefined.
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


def test_numbers_equal_an_independent_computation(good_run):
    """Compute one measurement in float64 with NumPy; only the mask comes from the package."""
    import numpy as np

    from robustness import encoder, evalset
    from robustness.embedding import embed_images, embed_reports
    from robustness.evalset import normalise
    from robustness.perturbation.occlusion import Occlusion

    model = encoder.load("robustness.models.phantom:load")
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
        for c in good_run.results("out")["measurements"]
        if (c["pattern"], c["fill"], c["level"]) == ("grid", "grey", 0.3)
        and c["direction"] == "image_to_report"
    ]
    assert cell["metrics"]["hit@5"]["value"] == pytest.approx(np.mean(ranks <= 5))
    assert cell["metrics"]["mrr"]["value"] == pytest.approx(np.mean(1 / ranks))
    assert cell["metrics"]["median_rank"]["value"] == np.median(ranks)


# --- the same numbers again --------------------------------------------------------------


@pytest.mark.slow
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
        ["--robustness-batch-size=7"],
        pytest.param(["--robustness-batch-size=1"], marks=pytest.mark.slow),
        pytest.param(["-n", "2"], marks=pytest.mark.slow),
        pytest.param(["-n", "4"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_batch_sizes_and_workers_change_nothing(
    good_run, repository, pytester, tmp_path, arguments
):
    """Allow a difference of one query: float noise may swap a near tie."""
    expected = good_run.results("out")
    run = pytester.runpytest_subprocess if "-n" in arguments else pytester.runpytest_inprocess
    outcome = repository.gate(f"--robustness-store={tmp_path}", *arguments, run=run)
    assert outcome.ret == 0
    results = repository.results()
    assert results["verdict"] == expected["verdict"]
    for cell, other in zip(results["measurements"], expected["measurements"], strict=True):
        for name, metric in cell["metrics"].items():
            if name.startswith(("hit", "recall", "mrr")):
                assert abs(metric["value"] - other["metrics"][name]["value"]) <= 1 / cell["n"]
    computed = {r["timing"]["store"]["computed"] for r in (results, expected)}
    assert len(computed) == 1, "no embedding is computed twice"
    assert 1 <= results["timing"]["model_loads"] <= results["timing"]["processes"]


# --- around the gate -------------------------------------------------------------------------


def test_the_reference_encoder_misses_its_bounds_on_real_radiographs(repository, open_i):
    """It was trained on phantoms, so it is near chance."""
    outcome = repository.gate(f"--robustness-evalset=open_i:{open_i}", "-k", "occlusion")
    assert outcome.ret == 1
    results = repository.results()
    assert results["reason"] == "bound_missed"
    clean = next(c for c in results["measurements"] if c["level"] == 0)
    assert clean["metrics"]["hit@10"]["value"] < 10 * clean["chance"]["hit@10"]
    excluded = results["protocol"]["evalset"]["excluded"]
    assert excluded["study without a frontal view"] > 0


@pytest.mark.parametrize("arguments", [[], ["-n", "2"], ["--robustness-update=new"]], ids=str)
def test_one_study_has_values_and_no_intervals(small, pytester, arguments):
    """Bounds are vacuous: guessing among one report is always right."""
    apart = pytester.runpytest_subprocess if "-n" in arguments else None
    outcome = small.gate("--robustness-evalset=phantom:1", *arguments, run=apart)
    assert outcome.ret == 1
    assert_no_traceback(said(outcome))
    results = small.results()
    assert results["reason"] == "bound_vacuous"
    for cell in results["measurements"]:
        assert cell["metrics"]["hit@10"] == {"value": 1, "low": None, "high": None}
        assert cell["metrics"]["median_rank"] == {"value": 1, "low": None, "high": None}
    for curve in results["curves"]:
        assert curve["area_under_curve"] == {"value": 1, "low": None, "high": None}
    assert "mean over levels 1.000 [-, -]; not distinguishable from" in said(outcome)
    page = (small.path / ".robustness" / "report" / "report.html").read_text()
    assert "nan" not in page.lower()


def test_collection_imports_nothing_heavy():
    script = (
        "import sys, pytest\n"
        "code = pytest.main(['--collect-only', '-q', '-m', 'robustness'])\n"
        "assert code == 0, code\n"
        "heavy = {'torch', 'transformers', 'open_clip', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    root = Path(__file__).parents[2]
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
    outcome.assert_outcomes(passed=3)
    saved = json.loads((repository.path / ".robustness" / "report" / "benchmark.json").read_text())
    assert {b["group"] for b in saved["benchmarks"]} == {"embed images", "embed reports", "rank"}
    assert not (repository.path / ".robustness" / "report" / "results.json").exists()


def test_the_plugin_prints_nothing_without_a_gate(pytester):
    pytester.makepyfile("def test_nothing(): pass")
    outcome = pytester.runpytest_inprocess("-q")
    outcome.assert_outcomes(passed=1)
    assert "verdict" not in said(outcome)
    assert not (pytester.path / ".robustness").exists()
