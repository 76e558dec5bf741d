"""A repository's own fixtures, modules and markers around the gate's cases."""

from __future__ import annotations

import shutil

import pytest
from support.gate_repository import BESIDE, WEIGHTS, assert_no_traceback, comparable, said
from support.one_verdict import agreed, run

TEARDOWN = """
import pytest

@pytest.fixture(autouse=True, params=["first", "second"])
def ours(request):
    yield
    if request.param == BROKEN: raise ValueError("torn")
"""


@pytest.mark.parametrize("beside", BESIDE, ids=" ".join)
def test_a_teardown_that_breaks_in_one_round_of_two(small, pytester, beside):
    pytester.makeconftest(TEARDOWN.replace("BROKEN", "'second'"))
    outcome = small.gate(*beside)
    outcome.assert_outcomes(passed=12, errors=6)
    results = small.results()
    assert (outcome.ret, results["verdict"], results["reason"]) == (1, "fail", "crashed")
    assert all("ValueError: torn" in cell["message"] for cell in results["measurements"])
    assert results["summary"] == {"passed": 0, "failed": 8, "not_measured": 0}
    assert "verdict: FAIL" in said(outcome)
    assert "page: .robustness/report/report.html" in said(outcome)


def test_rounds_that_a_fixture_adds_change_nothing(small, pytester):
    assert small.gate().ret == 0
    expected = comparable(small.results())
    pytester.makeconftest(TEARDOWN.replace("BROKEN", "None"))
    small.gate().assert_outcomes(passed=12)
    assert comparable(small.results()) == expected


def test_a_case_without_a_curve_leaves_the_others_theirs(repository, pytester):
    """Of a case that broke after it was measured nothing is shown, its curve no more than it."""
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


@pytest.mark.parametrize("beside", BESIDE, ids=" ".join)
def test_paths_are_the_command_line_s_where_a_fixture_leaves_its_folder(small, pytester, beside):
    shutil.copy(WEIGHTS, pytester.path / "mine.safetensors")
    pytester.makeconftest(ELSEWHERE)
    pytester.makepyfile(test_mine="def test_mine(tmp_path): assert not list(tmp_path.iterdir())")
    outcome = small.gate(*beside, "--robustness-weights=phantom=mine.safetensors")
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
def test_of_two_modules_with_the_suite_the_one_that_fails_counts(small, pytester, order):
    """A model may answer otherwise the second time; what failed once failed."""
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


# --- another's marker of the same name ----------------------------------------------------------

THEIRS = """
import pytest

@pytest.mark.robustness
def test_theirs(): pass

class TestTheirs:
    @pytest.mark.robustness
    def test_more(self): pass
"""


@pytest.mark.parametrize("beside", BESIDE, ids=" ".join)
@pytest.mark.parametrize("theirs", ["", "@pytest.mark.robustness\ndef test_bad(): assert 0"])
def test_a_repository_without_a_gate_may_have_the_marker(pytester, beside, theirs):
    pytester.makepyfile(THEIRS + theirs)
    outcome = pytester.runpytest_inprocess("--strict-markers", *beside)
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

CALMED = """
def pytest_sessionfinish(session, exitstatus):
    if exitstatus in {1, 5}: session.exitstatus = 0
"""


@pytest.mark.parametrize("beside", [["-k", "nothing"], ["--robustness-models=my_models:nan"]])
def test_a_run_that_fails_exits_with_a_failure_whatever_others_make_of_it(
    changed, pytester, beside
):
    """Many repositories have pytest exit with 0 where no test was selected."""
    pytester.makeconftest(CALMED)
    outcome = changed.gate(*beside)
    assert changed.results()["verdict"] == "fail"
    assert outcome.ret == 1
