"""One verdict: exit status, terminal, JUnit, results.json and the page say the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from xml.etree import ElementTree as ET

import pytest
from gate_repository import said
from report_results import Page, results

from robustness.errors import GateError
from robustness.report import case_properties, write


@dataclass(frozen=True)
class Said:
    """What one of the five says."""

    verdict: str
    reason: str
    message: str


@pytest.fixture
def small(repository):
    """Two cases and four properties, of one example each."""
    repository.edit("examples: 4", "examples: 1")
    repository.edit("patterns: [square, grid]", "patterns: [square]")
    repository.edit("fills: [black, grey]", "fills: [black]")
    return repository


def run(repository, *arguments, of=None):
    of = of or partial(repository._run, no_reraise_ctrlc=True)
    return repository.gate("--junitxml=junit.xml", *arguments, run=of)


def suite(repository):
    return ET.parse(repository.path / "junit.xml").getroot().find("testsuite")


def properties(element):
    found = element.findall("properties/property")
    named = {each.get("name"): each.get("value") for each in found}
    assert len(named) == len(found), "a property is said once"
    return named


def agreed(repository, outcome):
    """The one verdict that all five give, parsed from each of them."""
    results = repository.results()
    expected = Said(results["verdict"], results["reason"], results["message"])
    assert (outcome.ret == 0) == (expected.verdict == "pass")
    (line,) = re.findall(r"^verdict: (\w+) \((.*)\)$", said(outcome), re.MULTILINE)
    assert line == (expected.verdict.upper(), expected.message)
    of_run = properties(suite(repository))
    assert expected == Said(*(of_run[f"robustness_{n}"] for n in ("verdict", "reason", "message")))
    counts = {name: int(of_run[f"robustness_{name}"]) for name in results["summary"]}
    page = Page((repository.path / ".robustness/report/report.html").read_text("utf-8"))
    assert page.by_id["verdict"] == expected.verdict.upper()
    assert page.by_id["reason"] == expected.reason
    assert f"{expected.message}. Reason" in page.text
    assert counts == results["summary"] == {name: int(page.by_id[name]) for name in counts}
    tests = suite(repository)
    assert (int(tests.get("failures")) + int(tests.get("errors")) > 0) == (outcome.ret != 0)
    assert_cases_agree(repository, results)
    return expected


def assert_cases_agree(repository, results):
    """Each case's properties are its measurements in results.json, no more and no fewer."""
    told = {c.get("name"): properties(c) for c in suite(repository).iter("testcase")}
    # The run's own case, and the nameless one of a test that was interrupted.
    told = {name: mine for name, mine in told.items() if name not in {"verdict", None}}
    expected = {}
    for cell in results["cases"]:
        name = f"test_occlusion[{cell['model']}-{cell['pattern']}-{100 * cell['level']:g}]"
        place = f"{cell['fill']}.{cell['direction']}"
        mine = expected.setdefault(name, {})
        mine |= {f"robustness_{k}.{place}": cell[k] for k in ("verdict", "reason")}
        if cell["metrics"]:
            mine[f"hit@10.{place}"] = f"{cell['metrics']['hit@10']['value']:.6f}"
    for prop in results["properties"]:
        name = f"test_property[{prop['model']}-{prop['property']}]"
        expected[name] = {f"robustness_{k}": prop[k] for k in ("verdict", "reason")}
    crashed = {"robustness_verdict": "fail", "robustness_reason": "crashed"}
    for name, mine in told.items():
        if mine == crashed:
            assert reasons(expected[name]) == {"crashed"}
        else:
            assert mine == expected[name]
    for name in expected.keys() - told.keys():
        assert reasons(expected[name]) == {"not_run"}


def reasons(of_case):
    return {value for name, value in of_case.items() if name.startswith("robustness_reason")}


# --- agreement -----------------------------------------------------------------------------


def test_a_run_that_passes(small):
    assert agreed(small, run(small)) == Said(
        "pass", "ok", "measurements and properties: 8 passed, 0 failed, 0 not measured"
    )
    assert len(list(suite(small).iter("testcase"))) == 6


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
    assert agreed(small, outcome).reason == "not_run"


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
    assert "JUnit: this pytest offers no place for the verdict of the run" in said(outcome)
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
    assert (results["verdict"], results["reason"]) == ("fail", "report_failed")
    assert "report.html cannot be written: ZeroDivisionError: of the page" in results["message"]
    assert f"verdict: FAIL ({results['message']})" in said(outcome)
    assert properties(suite(small))["robustness_reason"] == "report_failed"
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
        from robustness import files

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
        assert (written["verdict"], written["reason"]) == ("fail", "report_failed")
    assert not list(tmp_path.iterdir())


def test_a_name_that_no_encoding_holds_is_escaped(tmp_path):
    given = results(excluded={"file \udcff": 1})
    assert write(given, tmp_path) == given
    assert "file \\udcff" in (tmp_path / "report.html").read_text("utf-8")
