"""One verdict: exit status, terminal, JUnit, results.json and the page say the same."""

from __future__ import annotations

import re

import pytest
from support.gate_repository import said
from support.one_verdict import VerdictReport, agreed, properties, run, suite
from support.report_results import results

from robustness.errors import GateError
from robustness.report import case_properties, write

# --- agreement -----------------------------------------------------------------------------


def test_a_run_that_passes(small_run):
    assert agreed(small_run, small_run.outcome) == VerdictReport(
        "pass", "ok", "measurements and properties: 8 passed, 0 failed, 0 not measured"
    )
    assert len(list(suite(small_run).iter("testcase"))) == 6


def test_a_run_that_fails(small):
    small.edit("hit@10 >= 0.4", "hit@1 >= 0.999")
    assert agreed(small, run(small)).reason == "bound_missed"
    assert not suite(small).findall("testcase[@name='verdict']")


def test_a_run_of_which_a_part_is_not_measured(small):
    outcome = run(small, "-k", "square-0")
    outcome.assert_outcomes(passed=1)
    assert agreed(small, outcome).reason == "not_run"
    (case,) = suite(small).findall("testcase[@name='verdict']")
    assert "6 not measured [not_run]" in case.find("failure").text


def test_optional_weights_that_are_absent_fail_nothing(changed):
    changed.edit("patterns: [square, grid]", "patterns: [square]")
    changed.edit("occlusion:", "  absent: {loader: my_models:absent, optional: true}\nocclusion:")
    assert agreed(changed, run(changed)).verdict == "pass"


def test_a_case_that_crashes(changed):
    outcome = run(changed, "--robustness-models=my_models:crash", "-k", "square")
    assert agreed(changed, outcome).reason == "crashed"


STOP = """
import pytest
from robustness.suite import *
@pytest.mark.robustness
def test_zz():
    raise {}
"""


@pytest.mark.parametrize("stop", ["KeyboardInterrupt", "pytest.exit.Exception('stop')"])
def test_a_run_that_is_interrupted_once_all_has_passed(small, stop):
    (small.path / "test_release.py").write_text(STOP.format(stop))
    outcome = run(small)
    assert outcome.ret == 2
    verdict = agreed(small, outcome)
    assert (verdict.verdict, verdict.reason) == ("fail", "interrupted")
    assert verdict.message.startswith("the run was interrupted; ")
    assert small.results()["summary"] == {"passed": 8, "failed": 0, "not_measured": 0}


def test_a_run_that_is_interrupted_before_its_end(small):
    text = STOP.format("KeyboardInterrupt").replace("from robustness.suite import *\n", "")
    (small.path / "test_a.py").write_text(text)
    outcome = run(small)
    assert outcome.ret == 2
    assert agreed(small, outcome).reason == "interrupted"


@pytest.mark.parametrize("when", ["setup", "call", "teardown"])
def test_an_error_around_a_case_that_passed(small, when):
    """Its failure is the run's: no verdict passes beside a test that failed."""
    (small.path / "conftest.py").write_text(
        "import pytest\n"
        f"@pytest.hookimpl(wrapper=True)\ndef pytest_runtest_{when}(item):\n"
        "    yield\n"
        "    if 'square-30' in item.name:\n"
        "        raise RuntimeError('around it')\n"
    )
    outcome = run(small)
    assert outcome.ret == 1
    results = small.results()
    assert (results["verdict"], results["reason"]) == ("fail", "crashed")
    assert results["summary"] == {"passed": 6, "failed": 2, "not_measured": 0}
    of_run = properties(suite(small))
    assert (of_run["robustness_verdict"], of_run["robustness_reason"]) == ("fail", "crashed")


@pytest.mark.slow
def test_workers_say_the_same(small, pytester):
    small.edit("hit@10 >= 0.4", "hit@1 >= 0.999")
    outcome = run(small, "-n", "2", of=pytester.runpytest_subprocess)
    assert agreed(small, outcome).reason == "bound_missed"
    cases = {c.get("name"): properties(c) for c in suite(small).iter("testcase")}
    assert "hit@10.black.report_to_image" in cases["test_occlusion[phantom-square-30]"]


def test_a_pytest_without_a_place_for_the_verdict_is_said(small, monkeypatch):
    monkeypatch.delattr("_pytest.junitxml.LogXML.add_global_property")
    outcome = run(small)
    assert outcome.ret == 0
    assert "JUnit: this pytest version does not support suite-level properties;" in said(outcome)
    assert not properties(suite(small))
    assert all(properties(case) for case in suite(small).iter("testcase"))
    assert "JUnit" not in said(small.gate())


def test_a_crash_has_properties_of_its_own():
    assert case_properties(None) == [
        ("robustness_verdict", "fail"),
        ("robustness_reason", "crashed"),
    ]


# --- results that cannot be written -------------------------------------------------------------


def broken(_results):
    raise ZeroDivisionError("of the page")


def test_a_page_that_fails_fails_the_run_and_leaves_no_stale_one(small, monkeypatch):
    assert run(small).ret == 0
    page = small.path / ".robustness/report/report.html"
    assert page.exists()
    monkeypatch.setattr("robustness.report._files.html", broken)
    outcome = run(small)
    assert outcome.ret == 1
    results = small.results()
    assert (results["verdict"], results["reason"]) == ("fail", "page_failed")
    assert "report.html cannot be written: ZeroDivisionError: of the page" in results["message"]
    assert f"verdict: FAIL ({results['message']})" in said(outcome)
    assert properties(suite(small))["robustness_reason"] == "page_failed"
    assert not page.exists()
    assert "page:" not in said(outcome)


def test_a_page_whose_place_is_taken(small):
    (small.path / ".robustness/report/report.html").mkdir(parents=True)
    outcome = run(small)
    assert outcome.ret == 1
    assert properties(suite(small))["robustness_reason"] == "report_failed"
    assert re.search(r"verdict: FAIL \(.*cannot be written: Is a directory", said(outcome))
    assert not (small.path / ".robustness/report/results.json").exists()


@pytest.fixture
def full_disk(monkeypatch):
    """A disk that is full from the nth file on; files are counted from 0."""

    def fill(first):
        from robustness._util import files

        count = iter(range(10))

        def write_or_fail(path, *parts):
            if next(count) >= first:
                raise OSError(28, "No space left on device")
            files.write_whole(path, *parts)

        monkeypatch.setattr("robustness.report._files.write_whole", write_or_fail)

    return fill


@pytest.mark.parametrize("first", [0, 1])
def test_a_full_disk_leaves_no_results_that_pass(tmp_path, full_disk, first):
    write(results(), tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"results.json", "report.html"}
    full_disk(first)
    if first == 0:
        with pytest.raises(GateError, match=r"results.json cannot be written: No space left"):
            write(results(), tmp_path)
    else:
        written = write(results(), tmp_path)
        assert (written["verdict"], written["reason"]) == ("fail", "page_failed")
    assert not list(tmp_path.iterdir())


def test_a_name_that_no_encoding_holds_is_escaped(tmp_path):
    given = results(excluded={"file \udcff": 1})
    assert write(given, tmp_path) == given
    assert "file \\udcff" in (tmp_path / "report.html").read_text("utf-8")
