"""The one verdict of a run, parsed from each of the five places that give it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from xml.etree import ElementTree as ET

from support.gate_repository import said
from support.report_results import Page


@dataclass(frozen=True)
class Said:
    """What one of the five says."""

    verdict: str
    reason: str
    message: str


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
    assert_comparisons_agree(of_run, page, said(outcome), results["comparison"])
    return expected


def assert_cases_agree(repository, results):
    """Each case's properties are its measurements in results.json, no more and no fewer."""
    told = {c.get("name"): properties(c) for c in suite(repository).iter("testcase")}
    # The run's own case, and the nameless one of a test that was interrupted.
    told = {name: mine for name, mine in told.items() if name not in {"verdict", None}}
    expected = {}
    for cell in results["measurements"]:
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
        assert reasons(expected[name]) <= {"not_run", "interrupted", "record_missing"}


def assert_comparisons_agree(of_run, page, terminal, comparison):
    """Each case beside the baseline has one verdict, one reason and one fall everywhere."""
    cases = comparison["comparisons"] if comparison else []
    told = {name: value for name, value in of_run.items() if ".baseline" in name}
    expected = {}
    for case in cases:
        place = f".baseline.{case['model']}" if "model" in case else ".baseline"
        if "drop" in case:
            place += f"-{case['pattern']}-{100 * case['level']:g}.{case['fill']}"
            expected[f"{comparison['metric']}_drop{place}"] = f"{case['drop']['value']:.6f}"
        expected |= {f"robustness_{k}{place}": case[k] for k in ("verdict", "reason")}
    assert told == expected
    assert of_run.get("robustness_baseline") == (comparison and comparison["baseline"])
    rows = [row for row in page.rows if len(row) == 10 and row[3].endswith("%")]
    beside = [row for row in rows if row[1] == "phantom"]
    shown = sorted((row[0], row[2], row[3], row[4], row[5]) for row in beside)
    assert shown == sorted(
        (c["verdict"], c["pattern"], f"{100 * c['level']:.3g} %", c["fill"], tenths(c))
        for c in cases
        if "drop" in c
    )
    for case in cases:
        if "drop" not in case:
            assert any(row[-1] == f"{case['reason']} {case['message']}" for row in page.rows)
    failed = [case for case in cases if case["verdict"] == "fail"]
    lines = re.findall(r"^  FAIL .*$", terminal, re.MULTILINE)
    assert len(lines) == min(len(failed), 8)
    if comparison:
        compared = [case for case in cases if "drop" in case]
        count = f"{len(compared) - sum(case in failed for case in compared)} of {len(compared)}"
        count = f"{count} cases pass" if compared else "nothing is compared"
        assert f"beside baseline {comparison['baseline']}: {count}" in terminal.splitlines()


def tenths(case):
    return f"{100 * case['drop']['value']:.1f}"


def reasons(of_case):
    return {value for name, value in of_case.items() if name.startswith("robustness_reason")}
