"""JUnit properties of the gate, for a case and for the whole run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustness.metrics import PRIMARY_METRIC
from robustness.records import AnyRecord, PropertyRecord
from robustness.records.codec import Json
from robustness.report._comparison import comparison_lines, followup_lines
from robustness.verdict.reasons import Reason, Verdict

if TYPE_CHECKING:
    import pytest

Properties = list[tuple[str, str]]
"""Names and values of ``<property>`` elements."""

VERDICT = "robustness::verdict"
"""Name of the failed test case that is added to a run that fails although no test failed."""

UNSUPPORTED = (
    "JUnit: this pytest version does not support suite-level properties; only per-case results"
    " were written"
)


def case_properties(record: AnyRecord | None) -> Properties:
    """Return the properties of a case: a verdict and a reason for each judged part.

    Args:
        record: The case's record; None if it ended with an error.
    """
    if record is None:
        return _judged("", Verdict.FAIL, Reason.CRASHED)
    if isinstance(record, PropertyRecord):
        return _judged("", record.verdict, record.reason)
    properties: Properties = []
    for measurement in record.measurements:
        suffix = f".{measurement.fill}.{measurement.direction}"
        properties += _judged(suffix, measurement.verdict, measurement.reason)
        value = measurement.value(PRIMARY_METRIC)
        if value is not None:
            properties.append((f"{PRIMARY_METRIC}{suffix}", f"{value:.6f}"))
    return properties


def _judged(suffix: str, verdict: str, reason: str) -> Properties:
    # str: xdist serialises plain values only.
    return [
        (f"robustness_verdict{suffix}", str(verdict)),
        (f"robustness_reason{suffix}", str(reason)),
    ]


def run_properties(results: Json) -> Properties:
    """Return the properties of the run: verdict, counts and comparison."""
    properties = [
        (f"robustness_{name}", results[name]) for name in ("verdict", "reason", "message")
    ]
    properties += [(f"robustness_{name}", str(n)) for name, n in results["summary"].items()]
    loosened = sum(update["loosened"] for update in results["followup"]["updates"])
    if loosened:
        properties.append(("robustness_bounds_loosened", str(loosened)))
    return properties + _comparison_properties(results["comparison"])


def _comparison_properties(comparison: Json | None) -> Properties:
    """Return the baseline, and a verdict, a reason and the drop of each comparison."""
    if comparison is None:
        return []
    properties = [("robustness_baseline", comparison["baseline"])]
    for case in comparison["comparisons"]:
        names = [case["model"]] if case["model"] else []
        if case["drop"]:
            names = [f"{case['model']}-{case['pattern']}-{case['level'] * 100:g}", case["fill"]]
        suffix = "".join(f".{name}" for name in ("baseline", *names))
        properties += _judged(suffix, case["verdict"], case["reason"])
        if case["drop"]:
            drop = f"{case['drop']['value']:.6f}"
            properties.append((f"{comparison['metric']}_drop{suffix}", drop))
    return properties


def add_to_junit(config: pytest.Config, results: Json, *, tests_failed: bool) -> str:
    """Add a run's properties to the JUnit file that pytest is about to write, if any.

    Many readers of JUnit files look at test cases only. If a run fails although no test failed,
    for example since tests were deselected, a failed test case :data:`VERDICT` is added.

    Args:
        config: Configuration of the process that writes the file.
        results: The content of ``results.json``.
        tests_failed: True if any test failed.

    Returns:
        A line for the terminal if this pytest does not support it, else an empty text.
    """
    if config.getoption("xmlpath", None) is None:
        return ""
    # pytest's public fixture for this ends before the verdict is known, and runs in the workers
    # of pytest-xdist.
    plugins = config.pluginmanager.get_plugins()
    writers = [plugin for plugin in plugins if hasattr(plugin, "add_global_property")]
    for writer in writers:
        for name, value in run_properties(results):
            writer.add_global_property(name, value)
        if results["verdict"] != Verdict.PASS and not tests_failed:
            lines = [
                f"{results['message']} [{results['reason']}]",
                *comparison_lines(results["comparison"]),
                *followup_lines(results["followup"], results["verdict"]),
            ]
            for report in _failed_case("\n".join(lines)):
                writer.pytest_runtest_logreport(report)
    return "" if writers else UNSUPPORTED


def _failed_case(message: str) -> list[pytest.TestReport]:
    import pytest

    location = ("", None, VERDICT)
    return [
        pytest.TestReport(VERDICT, location, {}, "failed", message, "call"),
        pytest.TestReport(VERDICT, location, {}, "passed", None, "teardown"),
    ]
