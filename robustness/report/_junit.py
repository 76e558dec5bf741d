"""What a JUnit file says of the gate: its properties, for a case and for the whole run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from robustness.metrics import PRIMARY_METRIC
from robustness.records import AnyRecord, PropertyRecord
from robustness.report._comparison import comparison_lines, followup_lines
from robustness.verdict.reasons import Reason, Verdict

if TYPE_CHECKING:
    import pytest

Properties = list[tuple[str, str]]
"""Names with values, as ``<property>`` elements hold them."""

VERDICT = "robustness::verdict"
"""The name of the test case that a run adds which fails although no test of it did."""

NO_PLACE = (
    "JUnit: this pytest offers no place for the verdict of the run; the file has the cases' alone"
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


def run_properties(results: dict[str, Any]) -> Properties:
    """Of the run: the verdict that the exit status, the terminal and the files share."""
    counts = [(f"robustness_{name}", str(n)) for name, n in results["summary"].items()]
    said = [(f"robustness_{name}", results[name]) for name in ("verdict", "reason", "message")]
    loosened = sum(update["loosened"] for update in results["followup"]["updates"])
    if loosened:
        counts.append(("robustness_bounds_loosened", str(loosened)))
    return said + counts + _comparison_properties(results["comparison"])


def _comparison_properties(comparison: dict[str, Any] | None) -> Properties:
    """Of the comparison: its baseline, and of each case a verdict, a reason and the drop."""
    if comparison is None:
        return []
    properties = [("robustness_baseline", comparison["baseline"])]
    for case in comparison["comparisons"]:
        names = [case["model"]] if case["model"] else []
        if case["drop"]:
            names = [f"{case['model']}-{case['pattern']}-{case['level'] * 100:g}", case["fill"]]
        place = "".join(f".{name}" for name in ("baseline", *names))
        properties += _judged(place, case["verdict"], case["reason"])
        if case["drop"]:
            drop = f"{case['drop']['value']:.6f}"
            properties.append((f"{comparison['metric']}_drop{place}", drop))
    return properties


def tell_junit(config: pytest.Config, results: dict[str, Any], *, tests_failed: bool) -> str:
    """Adds a run's properties to the JUnit file that pytest is about to write, if it writes one.

    Many readers of such files look at test cases alone. For them, a run that fails although
    no test of it did, as where some were deselected, gets a failed case, :data:`VERDICT`.

    Args:
        config: Of the process that writes the file.
        results: The content of ``results.json``.
        tests_failed: Whether any test failed.

    Returns:
        A line for the terminal, where the file cannot say what it should; else nothing.
    """
    if config.getoption("xmlpath", None) is None:
        return ""
    # pytest has a public way for fixtures alone, which end before the verdict is known, and
    # under pytest-xdist run in other processes than the one that writes.
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
    return "" if writers else NO_PLACE


def _failed_case(message: str) -> list[pytest.TestReport]:
    import pytest

    location = ("", None, VERDICT)
    return [
        pytest.TestReport(VERDICT, location, {}, "failed", message, "call"),
        pytest.TestReport(VERDICT, location, {}, "passed", None, "teardown"),
    ]
