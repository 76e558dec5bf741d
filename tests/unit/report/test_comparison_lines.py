"""The comparison with a baseline and the follow-up of a run, in the terminal and in JUnit."""

from __future__ import annotations

import pytest
from support.report_results import (
    NOTHING,
    REFUSED,
    beside,
    case,
    comparison,
    results,
    strict,
    update,
)

from robustness.report._comparison import MAX_LINES, comparison_lines, followup_lines
from robustness.report._junit import run_properties

# --- the terminal ------------------------------------------------------------------------------


def test_no_comparison_is_no_line():
    assert comparison_lines(None) == []
    assert followup_lines(NOTHING, "pass") == []
    idle = NOTHING | {"unwritten": "it is late"}
    assert followup_lines(idle, "pass") == ["bounds written: 0 (it is late)"]


def test_a_run_that_passes_reports_the_smallest_detectable_drop():
    lines = comparison_lines(comparison(case(-0.002), case(0.006, level=0.5, smallest_drop=0.034)))
    assert lines == [
        "compared with baseline 0003_main: 2 of 2 comparisons pass",
        "  fails if hit@10 drops by over 1 point and log ranks rise, p <= 0.001 (Holm)",
        "  largest drop: 0.6 points [-2.4, 3.6], phantom, square, black at 50 %",
        "  smallest detectable drop: 2.0 to 3.4 points",
    ]


def test_failures_are_listed_worst_first():
    cases = [case(0.0), case(0.02, "fail"), case(0.08, "fail", level=0.7, fill="grey"), REFUSED]
    lines = comparison_lines(comparison(*cases))
    assert lines[0] == "compared with baseline 0003_main: 1 of 3 comparisons pass"
    assert lines[4:] == [
        f"  FAIL {REFUSED['message']}",
        "  FAIL phantom, square, grey at 70 %: 8 points [5.0, 11.0], p = 3.2e-08",
        "  FAIL phantom, square, black at 30 %: 2 points [-1.0, 5.0], p = 3.2e-08",
    ]


def test_non_inferiority_reports_the_drop_that_is_not_excluded():
    lines = comparison_lines(comparison(strict(0.0341), mode="non_inferiority", alpha=0.05))
    assert lines[1] == (
        "  passes if a drop of hit@10 by 1 point is excluded, 95 % over all comparisons"
    )
    assert lines[-1] == ("  FAIL phantom, square, black at 30 %: 0 points, up to 3.4 not excluded")


def test_a_model_that_cannot_be_compared_alone():
    assert comparison_lines(comparison(REFUSED)) == [
        "compared with baseline 0003_main: nothing is compared",
        f"  FAIL {REFUSED['message']}",
    ]


def test_an_n_without_a_detectable_drop_is_reported():
    blind = case(0.0, smallest_drop=None)
    assert comparison_lines(comparison(blind))[-1].endswith("detectable drop: none")
    lines = comparison_lines(comparison(blind, case(0.0)))
    assert lines[-1].endswith("detectable drop: 2 points; none in 1 comparison")


def test_an_interval_that_is_unknown_is_left_out():
    """As of a single patient."""
    unknown = case(0.02, "fail", drop={"value": 0.02, "low": None, "high": None})
    assert "  FAIL phantom, square, black at 30 %: 2 points, p = 3.2e-08" in comparison_lines(
        comparison(unknown)
    )


@pytest.mark.parametrize("mode", ["regression", "non_inferiority"])
def test_sixty_four_failures_fit_a_screen_of_eighty_columns(mode):
    cases = [
        case(
            0.1 + level / 100 + 0.001 * i,
            "fail",
            level=level / 100,
            pattern=pattern,
            fill=fill,
            not_excluded=0.251 if mode == "non_inferiority" else None,
        )
        for i, (pattern, fill) in enumerate(
            (p, f) for p in ["square", "grid"] for f in ["black", "grey"]
        )
        for level in range(0, 80, 5)
    ]
    assert len(cases) == 64
    lines = comparison_lines(comparison(*cases, mode=mode))
    assert len(lines) == 4 + MAX_LINES + 1
    assert lines[-1] == f"  and {64 - MAX_LINES} more, see the page"
    assert max(map(len, lines)) <= 80


# --- follow-up ------------------------------------------------------------------------


def test_bounds_that_are_loosened_come_first_and_all_of_them():
    tight = [update(f"t.yaml:{i}: tight") for i in range(20)]
    loose = [update(f"t.yaml:{i}: LOOSENED", loosened=True) for i in range(20)]
    refused = [update("t.yaml:9: stays", done=False)]
    lines = followup_lines({**NOTHING, "updates": [*tight, *refused, *loose]}, "pass")
    assert lines[0] == "bounds written: 40, LOOSENED: 20, refused: 1"
    assert lines[2:22] == [f"  t.yaml:{i}: LOOSENED" for i in range(20)]
    assert lines[22] == "  t.yaml:9: stays"
    assert lines[23:] == [
        *(f"  t.yaml:{i}: tight" for i in range(MAX_LINES)),
        f"  and {20 - MAX_LINES} more, see the page",
    ]


def test_the_saved_baseline_and_problems():
    followup = {**NOTHING, "saved": "kept/0001_main.safetensors"}
    assert followup_lines(followup, "pass") == ["baseline saved: kept/0001_main.safetensors"]
    (line,) = followup_lines(followup, "fail")
    assert line.startswith("baseline saved (of a run that fails): ")
    problems = {**NOTHING, "problems": ["one", "two"]}
    assert followup_lines(problems, "fail") == ["not done: one", "not done: two"]


# --- JUnit -------------------------------------------------------------------------------------


def test_properties_of_a_comparison():
    whole = beside(case(0.0234567, "fail"), REFUSED)
    whole["followup"] = {**NOTHING, "updates": [update("a", loosened=True), update("b")]}
    properties = dict(run_properties(whole))
    assert properties["robustness_bounds_loosened"] == "1"
    assert {name: value for name, value in properties.items() if "baseline" in name} == {
        "robustness_baseline": "0003_main",
        "robustness_verdict.baseline.phantom-square-30.black": "fail",
        "robustness_reason.baseline.phantom-square-30.black": "regression",
        "hit@10_drop.baseline.phantom-square-30.black": "0.023457",
        "robustness_verdict.baseline.clip": "fail",
        "robustness_reason.baseline.clip": "baseline_mismatch",
    }


def test_properties_without_a_comparison():
    assert not [name for name, _ in run_properties(results()) if "baseline" in name]
