"""--robustness-compare and --robustness-compare-fail."""

from __future__ import annotations

import re

import pytest
from support.gate_repository import BASELINES, assert_no_traceback, said
from support.one_verdict import VerdictReport, agreed, run

CLEAN = ("-k", "square-0")
"""One of two cases, for tests that do not check the verdict."""


@pytest.fixture
def folder(saved_run):
    """Folder with a baseline of the reference weights."""
    return saved_run.path / BASELINES


@pytest.fixture
def compare(small, folder):
    """Function that runs the gate with a baseline of the reference weights."""

    def gate(*arguments, of=None):
        return run(small, f"--robustness-baselines={folder}", *arguments, of=of)

    return gate


@pytest.fixture
def regression_run(record, folder, worse):
    """Run of worse weights that meet their bounds, compared with the baseline."""
    option = f"--robustness-baselines={folder}"
    return record("regression", "small", option, "--robustness-compare=main", worse)


def compared(repository):
    return repository.results()["comparison"]["comparisons"]


# --- verdicts ------------------------------------------------------------------------------------


def test_the_same_weights_pass(small, compare):
    outcome = compare("--robustness-compare")
    assert outcome.ret == 0
    verdict = agreed(small, outcome)
    message = "measurements, properties and comparisons: 10 passed, 0 failed, 0 not measured"
    assert verdict == VerdictReport("pass", "ok", message)
    comparison = small.results()["comparison"]
    assert comparison["baseline"] == "0001_main"
    assert (comparison["mode"], comparison["metric"]) == ("regression", "hit@10")
    assert (comparison["margin"], comparison["alpha"]) == (0.01, 1e-5)
    assert [case["level"] for case in compared(small)] == [0, 0.3]
    for case in compared(small):
        assert case["drop"]["value"] == 0
        assert case["p"] == 1
        assert case["n"] == {"image_to_report": 48, "report_to_image": 48}
        assert 0.1 < case["smallest_drop"] < 0.6, "48 queries show no more"
    assert "largest drop: 0 points [" in said(outcome)
    assert "smallest detectable drop: " in said(outcome)


def test_worse_weights_that_meet_their_bounds_are_a_regression(regression_run):
    outcome = regression_run.outcome
    assert outcome.ret == 1
    outcome.assert_outcomes(passed=6)
    assert_no_traceback(said(outcome))
    assert agreed(regression_run, outcome).reason == "regression"
    assert regression_run.results()["summary"] == {"passed": 8, "failed": 2, "not_measured": 0}
    for case in compared(regression_run):
        assert case["drop"]["value"] > 0.01
        assert case["adjusted_p"] < 1e-4
        line = rf"  FAIL phantom, square, black at {100 * case['level']:g} %: "
        assert re.search(
            rf"^{line}[\d.]+ points \[.*\], p = [\d.e-]+$", said(outcome), re.MULTILINE
        )


def test_the_drop_is_the_difference_of_the_metrics(saved_run, regression_run):
    before = saved_run.results()["measurements"]
    (case,) = [case for case in compared(regression_run) if case["level"] == 0]
    now = regression_run.results()["measurements"]
    drops = {
        direction: of(before, direction) - of(now, direction)
        for direction in ("image_to_report", "report_to_image")
    }
    assert case["drops"] == pytest.approx(drops, abs=1e-12)
    assert case["drop"]["value"] == pytest.approx(sum(drops.values()) / 2, abs=1e-12)


def of(cells, direction):
    (cell,) = [c for c in cells if c["direction"] == direction and c["level"] == 0]
    return cell["metrics"]["hit@10"]["value"]


def test_a_margin_that_is_wide_enough_lets_it_pass(small, compare, worse):
    outcome = compare("--robustness-compare", "--robustness-compare-fail=hit@10:60pt", worse)
    assert outcome.ret == 0
    assert agreed(small, outcome).verdict == "pass"
    assert small.results()["comparison"]["margin"] == 0.6
    assert all(case["adjusted_p"] < 1e-4 for case in compared(small)), "the change is significant"


def test_the_metric_that_is_named_is_the_one_that_is_compared(small, compare, worse):
    """Among 48 reports every rank is below 100, so no drop can occur."""
    compare("--robustness-compare", "--robustness-compare-fail=hit@100:0.01", worse, *CLEAN)
    assert small.results()["comparison"]["metric"] == "hit@100"
    (case,) = compared(small)
    assert (case["reason"], case["drop"]["value"]) == ("comparison_vacuous", 0)


@pytest.mark.parametrize(("margin", "verdict"), [("1pt", "fail"), ("9pt", "pass")])
def test_non_inferiority_has_to_be_shown(small, compare, margin, verdict):
    """48 unchanged queries exclude a drop of 9 points, but not of 1 point."""
    small.edit("bounds:", "regression: {mode: non_inferiority}\nbounds:")
    outcome = compare("--robustness-compare", f"--robustness-compare-fail=hit@10:{margin}")
    assert outcome.ret == (verdict == "fail")
    reason = {"fail": "inferiority_not_excluded", "pass": "ok"}[verdict]
    assert agreed(small, outcome).reason == reason
    assert small.results()["comparison"]["alpha"] == 0.05
    assert {case["verdict"] for case in compared(small)} == {verdict}
    assert {case["drop"]["value"] for case in compared(small)} == {0}
    # Without a change the limit is z^2 / C, here one-sided at .05 / 2, of 48 patients.
    limits = [case["not_excluded"] for case in compared(small)]
    assert limits == pytest.approx([0.08, 0.08], abs=0.002)


def test_settings_of_the_file_are_the_defaults_of_the_command_line(small, compare, worse):
    small.edit("bounds:", "regression: {metric: hit@5, margin: 0.9, alpha: 0.2}\nbounds:")
    compare("--robustness-compare", worse, *CLEAN)
    comparison = small.results()["comparison"]
    settings = (comparison["metric"], comparison["margin"], comparison["alpha"])
    assert settings == ("hit@5", 0.9, 0.2)
    assert compared(small)[0]["verdict"] == "pass"


@pytest.mark.slow
def test_workers_compare_the_same(small, compare, worse, pytester):
    compare("--robustness-compare", worse, "-k", "occlusion")
    expected = small.results()["comparison"]
    compare("--robustness-compare", worse, "-k", "occlusion", "-n", "2", of=pytester.runpytest)
    assert small.results()["timing"]["processes"] == 2
    assert small.results()["comparison"] == expected
    assert {case["reason"] for case in expected["comparisons"]} == {"regression"}


def test_a_part_of_the_cases_is_compared_and_does_not_pass(small, compare):
    outcome = compare("--robustness-compare", *CLEAN)
    assert outcome.ret == 1
    assert agreed(small, outcome).reason == "not_run"
    assert [case["verdict"] for case in compared(small)] == ["pass"]


def test_a_run_without_measurements_does_not_pass(small, compare):
    outcome = compare("--robustness-compare", "-k", "property")
    assert outcome.ret == 1
    assert agreed(small, outcome).reason == "baseline_mismatch"
    assert "no measurement can be compared with baseline" in compared(small)[0]["message"]


# --- which baseline ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "stem"),
    [
        ("--robustness-compare", "0003_main"),
        ("--robustness-compare=main", "0003_main"),
        ("--robustness-compare=0001", "0001_main"),
        ("--robustness-compare=v1", "0002_v1"),
        ("--robustness-compare=elsewhere.safetensors", "elsewhere"),
    ],
)
def test_which_baseline_is_used(small, compare, folder, argument, stem):
    (small.path / "kept").mkdir()
    (baseline,) = folder.iterdir()
    for name in ("kept/0001_main", "kept/0002_v1", "kept/0003_main", "elsewhere"):
        (small.path / f"{name}.safetensors").write_bytes(baseline.read_bytes())
    small.gate(argument, "--robustness-baselines=kept", *CLEAN)
    assert small.results()["comparison"]["baseline"] == stem
    assert compared(small)[0]["verdict"] == "pass"


def test_a_baseline_is_read_at_the_start(small, compare, folder):
    """It may be deleted while the cases run."""
    (baseline,) = folder.iterdir()
    (small.path / "gone.safetensors").write_bytes(baseline.read_bytes())
    (small.path / "conftest.py").write_text(
        "from pathlib import Path\n"
        "def pytest_runtest_call(item):\n"
        "    Path('gone.safetensors').unlink(missing_ok=True)\n"
    )
    small.gate("--robustness-compare=gone.safetensors", *CLEAN)
    assert not (small.path / "gone.safetensors").exists()
    assert compared(small)[0]["verdict"] == "pass"


# --- runs that cannot be compared ----------------------------------------------------------------

OTHER_TEXT = """
from dataclasses import replace
from robustness.models.phantom import load as load_phantom

def load(weights=None, device="cpu"):
    encoder = load_phantom(weights, device)
    encoder.text_policy = replace(encoder.text_policy, sections=("findings",))
    return encoder
"""

SEED = ("levels: [0, 0.3]", "levels: [0, 0.3]\n  seed: 1")
LEVEL = ("fills: [black]", "fills: [grey]")


@pytest.mark.parametrize(
    ("arguments", "edit", "message"),
    [
        (["--robustness-evalset=phantom:40"], None, "set is phantom:40 here and phantom:48 in"),
        (["--robustness-evalset=phantom:48:1"], None, "set is phantom:48:1 here and phantom:48"),
        ([], LEVEL, "the baseline lacks 2 of 2 rankings, such as square, grey, level 0"),
        (
            [],
            ("robustness.models.phantom:load", "my_text:load"),
            'sections is ["findings"] here and ["find',
        ),
        (
            ["--robustness-models=robustness.models.phantom:load"],
            None,
            "the baseline has no model 'robustness.models.phantom:load'; it has phantom",
        ),
    ],
    ids=["evaluation set", "its seed", "fill", "text policy", "model"],
)
def test_runs_of_other_queries_are_refused(small, compare, monkeypatch, arguments, edit, message):
    (small.path / "my_text.py").write_text(OTHER_TEXT)
    monkeypatch.syspath_prepend(small.path)
    if edit:
        small.edit(*edit)
    outcome = compare("--robustness-compare", *CLEAN, *arguments)
    assert outcome.ret == 1
    assert_no_traceback(said(outcome))
    assert agreed(small, outcome).reason == "baseline_mismatch"
    (case,) = compared(small)
    assert case["message"].startswith(f"{case['model']} cannot be compared with the baseline: ")
    assert message in case["message"]
    assert case["message"] in said(outcome)


# --- bad input: exit status 4, one line, before anything is measured -----------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--robustness-compare=mian"],
            "'mian': baseline not found in .*available: 0001_main; save",
        ),
        (
            ["--robustness-compare=short.safetensors"],
            "short.safetensors cannot be read:",
        ),
        (
            ["--robustness-compare=damaged.safetensors"],
            "damaged.safetensors is damaged: ",
        ),
        (["--robustness-compare=test_release.py"], "test_release.py cannot be read: .*; save it"),
        (["--robustness-compare-fail=hit@10:1pt"], "name one with --robustness-compare"),
        (
            ["--robustness-compare", "--robustness-compare-fail=hit@10:5%"],
            "points .*, never in",
        ),
        (["--robustness-compare", "--robustness-compare-fail=hit@10:1"], "or a fraction below 1"),
        (["--robustness-compare", "--robustness-compare-fail=hit@10:100pt"], "fraction below 1"),
        (["--robustness-compare", "--robustness-compare-fail=hit@10"], "such as hit@10:1pt;"),
        (["--robustness-compare", "--robustness-compare-fail=mrr:1pt"], "metrics: hit@1, hit@5,"),
        (["--robustness-compare", "--robustness-compare-fail=hit@10:-1pt"], "such as hit@10:1pt;"),
        (
            ["--robustness-compare", "--robustness-compare-fail=hit@10:1.0.0pt"],
            "such as hit@10:1pt;",
        ),
    ],
)
def test_usage_errors(small, compare, folder, arguments, message):
    (baseline,) = folder.iterdir()
    whole = baseline.read_bytes()
    (small.path / "short.safetensors").write_bytes(whole[:-100])
    (small.path / "damaged.safetensors").write_bytes(whole[:-100] + bytes(100))
    outcome = compare(*arguments)
    assert outcome.ret == 4
    assert_no_traceback(said(outcome))
    (line,) = [line for line in said(outcome).splitlines() if line.startswith("ERROR: ")]
    assert re.search(message, line)
    assert not (small.path / ".robustness/report/results.json").exists()


def test_a_seed_other_than_the_baseline_s_is_refused_before_the_run(small, compare):
    small.edit(*SEED)
    outcome = compare("--robustness-compare", *CLEAN)
    assert outcome.ret == 4
    (line,) = [line for line in said(outcome).splitlines() if line.startswith("ERROR: ")]
    assert re.search("baseline .*0001_main.*: seed is 1 here and 0 in .*baseline_mismatch]$", line)


def test_a_folder_without_baselines(small):
    outcome = small.gate("--robustness-compare")
    assert outcome.ret == 4
    assert "available: none; save one with --robustness-save NAME" in said(outcome)
