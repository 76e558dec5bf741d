"""Runs without the gate, and runs without pytest-benchmark."""

from __future__ import annotations

import re
import shutil
from itertools import product

import pytest
from support.gate_repository import REPORT, assert_no_traceback, said

WITHOUT = ["-p", "no:benchmark", "--strict-markers"]


# --- without pytest-benchmark ---------------------------------------------------------------


def test_a_run_of_everything_skips_the_timings_alone(small, pytester, store):
    outcome = pytester.runpytest_inprocess(*WITHOUT, "-rs", f"--robustness-store={store}")
    assert outcome.ret == 0
    counts = outcome.parseoutcomes()
    assert counts["skipped"] == 3
    assert not counts.keys() & {"errors", "failed"}
    reason = "timings need pytest-benchmark, which is disabled or not installed"
    assert re.search(rf"^SKIPPED .*{reason}$", said(outcome), re.MULTILINE)
    assert small.results()["verdict"] == "pass"


def test_the_gate_runs_without_the_plugin(small):
    outcome = small.gate(*WITHOUT)
    assert outcome.ret == 0
    outcome.assert_outcomes(passed=6)


def test_other_tests_run_without_the_plugin(pytester):
    pytester.makepyfile("def test_other(): pass")
    outcome = pytester.runpytest_inprocess(*WITHOUT)
    assert outcome.ret == 0
    outcome.assert_outcomes(passed=1)


def test_timings_without_the_plugin_are_refused(repository, pytester):
    outcome = pytester.runpytest_inprocess(*WITHOUT, "-m", "benchmark")
    assert outcome.ret == 4
    (line,) = [line for line in outcome.stderr.lines if line]
    assert line == (
        "ERROR: -m benchmark: timings need pytest-benchmark, which is disabled or not"
        " installed; leave out -p no:benchmark [usage]"
    )


def test_a_benchmark_of_the_user_fails_without_the_plugin(repository, pytester):
    """It is not skipped silently."""
    pytester.makepyfile(test_mine="def test_mine(benchmark): benchmark(int)")
    outcome = pytester.runpytest_inprocess(*WITHOUT, "test_mine.py")
    outcome.assert_outcomes(errors=1)
    assert "fixture 'benchmark' not found" in said(outcome)


# --- unused options ----------------------------------------------------------------

UNUSED = r"^warning: (.*) given, but no case of the gate ran; add -m robustness$"


def unused(outcome):
    return re.findall(UNUSED, said(outcome), re.MULTILINE)


@pytest.mark.parametrize("xdist", [[], ["-n", "1"]], ids=" ".join)
def test_unused_options_are_reported(repository, pytester, xdist):
    pytester.makepyfile(test_other="def test_other(): pass")
    outcome = pytester.runpytest_inprocess("test_other.py", *xdist, "--robustness-device", "auto")
    assert outcome.ret == 0
    assert unused(outcome) == ["--robustness-device was"]
    assert_no_traceback(said(outcome))


def test_unused_options_are_reported_in_one_line(repository, pytester):
    pytester.makepyfile(test_other="def test_other(): raise ValueError")
    given = ["--robustness-option=phantom:a=1", "--robustness-option=phantom:b=2"]
    outcome = pytester.runpytest_inprocess("test_other.py", *given, "--robustness-store", "x")
    assert outcome.ret == 1
    assert unused(outcome) == ["--robustness-option, --robustness-store were"]
    assert not (repository.path / "x").exists()


def test_unused_options_from_addopts_are_not_reported(repository, pytester):
    pytester.makeini("[pytest]\naddopts = --robustness-device=cpu")
    pytester.makepyfile(test_other="def test_other(): pass")
    assert not unused(pytester.runpytest_inprocess("test_other.py"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "robustness"],
        ["-k", "phantom-square-0"],
        ["-k", "phantom-square-0", "-n", "1"],
        ["-m", "conformance", "-k", "shapes"],
        ["-m", "robustness", "-k", "nothing"],
        ["-m", "not robustness", "-k", "nothing", "--collect-only"],
        ["no_such_file.py"],
    ],
    ids=" ".join,
)
def test_nothing_is_reported_if_cases_ran_or_were_requested(small, pytester, store, arguments):
    outcome = pytester.runpytest_inprocess(*arguments, f"--robustness-store={store}")
    assert not unused(outcome)


# --- options that only print ------------------------------------------------------------------

LOOKS = {
    "--help": True,
    "--markers": True,
    "--fixtures": False,
    "--fixtures-per-test": False,
    "--cache-show": True,
    "--collect-only": False,
    "--setup-plan": False,
    "--setup-only": False,
}
"""Options that only print, and whether they work with an invalid thresholds file."""


@pytest.mark.parametrize(
    ("look", "marker"),
    # pytest-benchmark warns about timings under --setup-only.
    [*product(LOOKS, ["robustness"]), *product(list(LOOKS)[:-1], ["benchmark"])],
)
def test_options_that_only_print_leave_the_report(small_run, small, pytester, store, look, marker):
    report = small.path / REPORT
    shutil.copytree(small_run.path / REPORT, report)
    before = {path: path.read_bytes() for path in report.iterdir()}
    for edit in ["", "version: 2"] if LOOKS[look] else [""]:
        (small.path / "thresholds.yaml").write_text(
            edit or (small.path / "thresholds.yaml").read_text()
        )
        outcome = pytester.runpytest_inprocess("-m", marker, f"--robustness-store={store}", look)
        assert outcome.ret == 0
        assert "verdict" not in said(outcome)
        assert "Not saving anything" not in said(outcome)
        assert "INTERNALERROR" not in said(outcome)
        assert {path: path.read_bytes() for path in report.iterdir()} == before


# --- runs of repositories without a gate -------------------------------------------------------


EXPRESSIONS = {
    "not robustness": 0,
    "not (robustness)": 0,
    "not (robustness or slow)": 0,
    "not(robustness or benchmark)": 0,
    "not (slow and not slow) and not (benchmark)": 0,
    "robustness_of_ours": 5,
    "our_robustness or our_benchmark": 5,
    "benchmark": 5,
    "benchmark and not slow": 5,
}
"""Marker expressions that select no case, and the exit status of pytest."""

WITH_XDIST = {"not robustness", "benchmark"}
"""Expressions that are tested with pytest-xdist by default."""


def with_xdist(expression):
    marks = () if expression in WITH_XDIST else pytest.mark.slow
    return pytest.param(expression, ["-n", "1"], marks=marks)


@pytest.mark.parametrize(
    ("expression", "xdist"),
    [*((expression, []) for expression in EXPRESSIONS), *map(with_xdist, EXPRESSIONS)],
)
def test_marker_expressions_that_select_no_case(pytester, expression, xdist):
    pytester.makepyfile("def test_other(): pass")
    outcome = pytester.runpytest_inprocess("-m", expression, *xdist)
    assert outcome.ret == EXPRESSIONS[expression]
    assert "ERROR" not in said(outcome)
    assert "verdict" not in said(outcome)
    assert not (pytester.path / ".robustness").exists()


@pytest.mark.parametrize(
    "expression",
    [
        "robustness",
        " robustness and not slow",
        "not slow and (conformance or robustness)",
        "not (slow or not robustness)",
    ],
)
def test_marker_expressions_that_select_cases(pytester, expression):
    pytester.makepyfile("def test_other(): pass")
    outcome = pytester.runpytest_inprocess("-m", expression)
    assert outcome.ret == 4
    assert "thresholds file thresholds.yaml cannot be read" in said(outcome)


def test_pytest_refuses_an_invalid_marker_expression(pytester):
    pytester.makepyfile("def test_other(): pass")
    outcome = pytester.runpytest_inprocess("-m", "robustness and (")
    assert outcome.ret == 4
    assert_no_traceback(said(outcome))
    assert "Wrong expression passed to '-m'" in said(outcome)


def test_a_repository_without_a_gate_imports_nothing_for_it(pytester):
    pytester.makepyfile(
        "import sys\n"
        "def test_light():\n"
        "    heavy = {'numpy', 'yaml', 'PIL', 'jinja2', 'torch', 'robustness.plan'}\n"
        "    assert not heavy & set(sys.modules)\n"
    )
    outcome = pytester.runpytest_subprocess("-p", "no:benchmark", "-p", "no:hypothesispytest")
    outcome.assert_outcomes(passed=1)
