"""Runs that ask for something else than the gate, or that lack a plugin it can do without."""

from __future__ import annotations

import re

import pytest
from gate_repository import assert_no_traceback, said

WITHOUT = ["-p", "no:benchmark", "--strict-markers"]


# --- without pytest-benchmark ---------------------------------------------------------------


def test_a_run_of_everything_skips_the_timings_alone(small, pytester, store):
    outcome = pytester.runpytest_inprocess(*WITHOUT, "-rs", f"--robustness-store={store}")
    assert outcome.ret == 0
    counts = outcome.parseoutcomes()
    assert counts["skipped"] == 3
    assert not counts.keys() & {"errors", "failed"}
    reason = "timings need pytest-benchmark, which was turned off or is not installed"
    assert re.search(rf"^SKIPPED .*{reason}$", said(outcome), re.MULTILINE)
    assert small.results()["verdict"] == "pass"


def test_the_gate_does_without(small):
    outcome = small.gate(*WITHOUT)
    assert outcome.ret == 0
    outcome.assert_outcomes(passed=6)


def test_other_tests_do_without(pytester):
    pytester.makepyfile("def test_other(): pass")
    outcome = pytester.runpytest_inprocess(*WITHOUT)
    assert outcome.ret == 0
    outcome.assert_outcomes(passed=1)


def test_timings_say_what_they_need(repository, pytester):
    outcome = pytester.runpytest_inprocess(*WITHOUT, "-m", "benchmark")
    assert outcome.ret == 4
    (line,) = [line for line in outcome.stderr.lines if line]
    assert line == (
        "ERROR: -m benchmark: timings need pytest-benchmark, which was turned off or is not"
        " installed; leave out -p no:benchmark [usage]"
    )


def test_another_s_benchmark_is_its_own_error(repository, pytester):
    """No timing that a user wrote is skipped in silence."""
    pytester.makepyfile(test_mine="def test_mine(benchmark): benchmark(int)")
    outcome = pytester.runpytest_inprocess(*WITHOUT, "test_mine.py")
    outcome.assert_outcomes(errors=1)
    assert "fixture 'benchmark' not found" in said(outcome)


# --- options that nothing used ----------------------------------------------------------------

UNUSED = r"^warning: (.*) given, but no case of the gate ran; add -m robustness$"


def unused(outcome):
    return re.findall(UNUSED, said(outcome), re.MULTILINE)


@pytest.mark.parametrize("beside", [[], ["-n", "1"]], ids=" ".join)
def test_options_that_no_case_used_are_said(repository, pytester, beside):
    pytester.makepyfile(test_other="def test_other(): pass")
    outcome = pytester.runpytest_inprocess("test_other.py", *beside, "--robustness-device", "auto")
    assert outcome.ret == 0
    assert unused(outcome) == ["--robustness-device was"]
    assert_no_traceback(said(outcome))


def test_several_are_said_in_one_line_each_once(repository, pytester):
    pytester.makepyfile(test_other="def test_other(): raise ValueError")
    given = ["--robustness-option=phantom:a=1", "--robustness-option=phantom:b=2"]
    outcome = pytester.runpytest_inprocess("test_other.py", *given, "--robustness-store", "x")
    assert outcome.ret == 1
    assert unused(outcome) == ["--robustness-option, --robustness-store were"]
    assert not (repository.path / "x").exists()


def test_an_option_of_the_repository_s_own_settings_is_not(repository, pytester):
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
def test_nothing_is_said_where_cases_ran_or_were_asked_for(small, pytester, store, arguments):
    outcome = pytester.runpytest_inprocess(*arguments, f"--robustness-store={store}")
    assert not unused(outcome)
