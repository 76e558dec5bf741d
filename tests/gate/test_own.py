"""Fixtures, modules and markers of the user's repository around the gate's cases."""

from __future__ import annotations

import shutil

import pytest
from support.gate_repository import RUNNERS, WEIGHTS, assert_no_traceback, comparable, said
from support.one_verdict import agreed, run

TEARDOWN = """
import pytest

@pytest.fixture(autouse=True, params=["first", "second"])
def ours(request):
    yield
    if request.param == BROKEN: raise ValueError("torn")
"""


@pytest.mark.parametrize("xdist", RUNNERS, ids=" ".join)
def test_a_fixture_that_fails_in_teardown_for_one_parameter(small, pytester, xdist):
    pytester.makeconftest(TEARDOWN.replace("BROKEN", "'second'"))
    outcome = small.gate(*xdist)
    outcome.assert_outcomes(passed=12, errors=6)
    results = small.results()
    assert (outcome.ret, results["verdict"], results["reason"]) == (1, "fail", "crashed")
    assert all("ValueError: torn" in cell["message"] for cell in results["measurements"])
    assert results["summary"] == {"passed": 0, "failed": 8, "not_measured": 0}
    assert "verdict: FAIL" in said(outcome)
    assert "page: .robustness/report/report.html" in said(outcome)


def test_a_parametrised_autouse_fixture_changes_no_result(small_run, small, pytester):
    expected = comparable(small_run.results())
    pytester.makeconftest(TEARDOWN.replace("BROKEN", "None"))
    small.gate().assert_outcomes(passed=12)
    assert comparable(small.results()) == expected


def test_a_failed_case_leaves_the_curves_of_other_cases(repository, pytester):
    """A case that fails in teardown has neither measurements nor a curve."""
    pytester.makeconftest(
        "import pytest\n"
        "@pytest.fixture(autouse=True)\n"
        "def ours(request):\n"
        "    yield\n"
        "    if 'square-30' in request.node.name: raise ValueError('torn')\n"
    )
    outcome = run(repository)
    agreed(repository, outcome)
    assert {curve["pattern"] for curve in repository.results()["curves"]} == {"grid"}


ELSEWHERE = """
from pathlib import Path
import pytest

@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert Path.cwd() == tmp_path
"""


@pytest.mark.parametrize("xdist", RUNNERS, ids=" ".join)
def test_relative_paths_hold_if_a_fixture_changes_the_working_directory(small, pytester, xdist):
    shutil.copy(WEIGHTS, pytester.path / "mine.safetensors")
    pytester.makeconftest(ELSEWHERE)
    pytester.makepyfile(test_mine="def test_mine(tmp_path): assert not list(tmp_path.iterdir())")
    outcome = small.gate(*xdist, "--robustness-weights=phantom=mine.safetensors")
    outcome.assert_outcomes(passed=6)
    assert outcome.ret == 0
    pytester.runpytest_inprocess("test_mine.py").assert_outcomes(passed=1)


TAMPERED = """
import pytest
from dataclasses import replace

@pytest.fixture
def robustness_record(robustness_record):
    def keep(record):
        case, own = hasattr(record, "case"), hasattr(record, "room")
        TAMPER
        robustness_record(record)
    return keep
"""


MISSED = """
import pytest
from dataclasses import replace
from robustness.errors import Code
from robustness.verdict.reasons import Verdict

@pytest.fixture
def robustness_gate(robustness_gate, monkeypatch):
    run = robustness_gate.run
    def missed(case):
        record = run(case)
        first, *rest = record.measurements
        first = replace(
            first, verdict=Verdict.FAIL, reason=Code.BOUND_MISSED, message="missed here"
        )
        return replace(record, measurements=(first, *rest))
    monkeypatch.setattr(robustness_gate, "run", missed)
    return robustness_gate
"""


@pytest.mark.parametrize(
    "line",
    [
        "record = record.to_json()",
        "record = replace(record, case='none-square-0') if case else record",
        "record = replace(record, case=None) if case else record",
        "record = replace(record, measurements=None) if case else record",
        "record = None",
        "record = replace(record, measurements=(None,)) if case else record",
        "record = replace(record, property='none') if own else record",
        "record = replace(record, model=[]) if own else record",
    ],
)
def test_an_invalid_record_fails_its_case_and_not_the_run(small, pytester, line):
    pytester.makeconftest(TAMPERED.replace("TAMPER", line))
    outcome = small.gate()
    assert outcome.ret == 1
    assert "INTERNALERROR" not in said(outcome)
    counts = outcome.parseoutcomes()
    assert counts["failed"] + counts.get("passed", 0) == 6
    assert (small.results()["verdict"], small.results()["reason"]) == ("fail", "crashed")
    assert "TypeError: robustness_record takes the record of a planned case" in said(outcome)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_failure_counts_if_two_modules_import_the_suite(small, pytester, order):
    """A case that failed once fails, even if its second run passes."""
    (pytester.path / "test_release.py").unlink()
    for name in order:
        pytester.mkpydir(name)
        (pytester.path / name / "test_release.py").write_text("from robustness.suite import *\n")
    (pytester.path / "a" / "conftest.py").write_text(MISSED)
    outcome = small.gate(*order)
    outcome.assert_outcomes(failed=2, passed=10)
    assert (outcome.ret, small.results()["reason"]) == (1, "bound_missed")
    assert [cell["message"] == "missed here" for cell in small.results()["measurements"]].count(
        True
    ) == 2


# --- a marker of the same name ----------------------------------------------------------

THEIRS = """
import pytest

@pytest.mark.robustness
def test_theirs(): pass

class TestTheirs:
    @pytest.mark.robustness
    def test_more(self): pass
"""


@pytest.mark.parametrize("xdist", RUNNERS, ids=" ".join)
@pytest.mark.parametrize("theirs", ["", "@pytest.mark.robustness\ndef test_bad(): assert 0"])
def test_a_repository_without_a_gate_may_have_the_marker(pytester, xdist, theirs):
    pytester.makepyfile(THEIRS + theirs)
    outcome = pytester.runpytest_inprocess("--strict-markers", *xdist)
    outcome.assert_outcomes(passed=2, failed=bool(theirs))
    assert outcome.ret == bool(theirs)
    assert "verdict" not in said(outcome)
    assert not (pytester.path / ".robustness").exists()


def test_a_test_with_the_marker_alone_is_no_case(small, pytester, store):
    pytester.makepyfile(test_mine=THEIRS)
    outcome = pytester.runpytest_inprocess("test_mine.py", f"--robustness-store={store}")
    outcome.assert_outcomes(passed=2)
    assert_no_traceback(said(outcome))
    assert not (pytester.path / ".robustness/report").exists()


# --- exit statuses that a repository changes -----------------------------------------------------

RESETS_STATUS = """
def pytest_sessionfinish(session, exitstatus):
    if exitstatus in {1, 5}: session.exitstatus = 0
"""


@pytest.mark.parametrize("arguments", [["-k", "nothing"], ["--robustness-models=my_models:nan"]])
def test_a_failed_run_exits_with_1_even_if_a_hook_resets_the_exit_status(
    changed, pytester, arguments
):
    """Many repositories make pytest exit with 0 if no test is selected."""
    pytester.makeconftest(RESETS_STATUS)
    outcome = changed.gate(*arguments)
    assert changed.results()["verdict"] == "fail"
    assert outcome.ret == 1
