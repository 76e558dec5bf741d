"""Check that terminal, JUnit, JSON, page and exit status report the same verdict."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from xml.etree import ElementTree as ET

from support.gate_repository import said
from support.report_results import Page


@dataclass(frozen=True)
class VerdictReport:
    """Verdict as reported in one suffix."""

    verdict: str
    reason: str
    message: str


def run(repository, *arguments, of=None):
    of = of or partial(repository._run, no_reraise_ctrlc=True)
    return repository.gate("--junitxml=junit.xml", *arguments, run=of)


def suite(repository):
    return ET.parse(repository.path / "junit.xml").getroot().find("testsuite")


def properties(element):
    elements = element.findall("properties/property")
    named = {each.get("name"): each.get("value") for each in elements}
    assert len(named) == len(elements), "each property is reported once"
    return named


def agreed(repository, outcome):
    """Return the verdict; check that all reports agree on it."""
    results = repository.results()
    expected = VerdictReport(results["verdict"], results["reason"], results["message"])
    assert (outcome.ret == 0) == (expected.verdict == "pass")
    (line,) = re.findall(r"^verdict: (\w+) \((.*)\)$", said(outcome), re.MULTILINE)
    assert line == (expected.verdict.upper(), expected.message)
    of_run = properties(suite(repository))
    assert expected == VerdictReport(
        *(of_run[f"robustness_{n}"] for n in ("verdict", "reason", "message"))
    )
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
    """Check that the properties of JUnit cases are the measurements of results.json."""
    reported = {c.get("name"): properties(c) for c in suite(repository).iter("testcase")}
    # "verdict" is the case of the whole run; an interrupted test has no name.
    reported = {name: own for name, own in reported.items() if name not in {"verdict", None}}
    expected = {}
    for cell in results["measurements"]:
        name = f"test_occlusion[{cell['model']}-{cell['pattern']}-{100 * cell['level']:g}]"
        suffix = f"{cell['fill']}.{cell['direction']}"
        own = expected.setdefault(name, {})
        own |= {f"robustness_{k}.{suffix}": cell[k] for k in ("verdict", "reason")}
        if cell["metrics"]:
            own[f"hit@10.{suffix}"] = f"{cell['metrics']['hit@10']['value']:.6f}"
    for prop in results["properties"]:
        name = f"test_property[{prop['model']}-{prop['property']}]"
        expected[name] = {f"robustness_{k}": prop[k] for k in ("verdict", "reason")}
    crashed = {"robustness_verdict": "fail", "robustness_reason": "crashed"}
    for name, own in reported.items():
        if own == crashed:
            assert reasons(expected[name]) == {"crashed"}
        else:
            assert own == expected[name]
    for name in expected.keys() - reported.keys():
        assert reasons(expected[name]) <= {"not_run", "interrupted", "record_missing"}


def assert_comparisons_agree(of_run, page, terminal, comparison):
    """Check that all reports agree on the comparisons with the baseline."""
    cases = comparison["comparisons"] if comparison else []
    reported = {name: value for name, value in of_run.items() if ".baseline" in name}
    expected = {}
    for case in cases:
        suffix = f".baseline.{case['model']}" if case["model"] else ".baseline"
        if case["drop"]:
            suffix += f"-{case['pattern']}-{100 * case['level']:g}.{case['fill']}"
            expected[f"{comparison['metric']}_drop{suffix}"] = f"{case['drop']['value']:.6f}"
        expected |= {f"robustness_{k}{suffix}": case[k] for k in ("verdict", "reason")}
    assert reported == expected
    assert of_run.get("robustness_baseline") == (comparison and comparison["baseline"])
    rows = [row for row in page.rows if len(row) == 10 and row[3].endswith("%")]
    rows_of_model = [row for row in rows if row[1] == "phantom"]
    shown = sorted((row[0], row[2], row[3], row[4], row[5]) for row in rows_of_model)
    assert shown == sorted(
        (c["verdict"], c["pattern"], f"{100 * c['level']:.3g} %", c["fill"], tenths(c))
        for c in cases
        if c["drop"]
    )
    for case in cases:
        if not case["drop"]:
            assert any(row[-1] == f"{case['reason']} {case['message']}" for row in page.rows)
    failed = [case for case in cases if case["verdict"] == "fail"]
    lines = re.findall(r"^  FAIL .*$", terminal, re.MULTILINE)
    assert len(lines) == min(len(failed), 8)
    if comparison:
        compared = [case for case in cases if case["drop"]]
        count = f"{len(compared) - sum(case in failed for case in compared)} of {len(compared)}"
        count = f"{count} comparisons pass" if compared else "nothing is compared"
        assert f"compared with baseline {comparison['baseline']}: {count}" in terminal.splitlines()


def tenths(case):
    return f"{100 * case['drop']['value']:.1f}"


def reasons(of_case):
    return {value for name, value in of_case.items() if name.startswith("robustness_reason")}
