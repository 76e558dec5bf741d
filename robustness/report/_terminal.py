"""The summary of a run in the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from robustness._util.text import aligned, columns
from robustness.metrics import PRIMARY_METRIC
from robustness.report._common import (
    VERDICTS,
    Item,
    excluded,
    fraction,
    half_loss,
    interval,
    misnamed,
    words,
)
from robustness.report._comparison import comparison_lines, followup_lines
from robustness.report._time import time_lines
from robustness.verdict.reasons import RECORD_FAULTS

DIRECTION = "image_to_report"
"""The direction of the table and of the curves."""


def summary(results: dict[str, Any], width: int) -> list[str]:
    """Return the lines of the summary: a row per model and pattern, then notes.

    Args:
        results: The content of ``results.json``.
        width: Columns of the terminal.
    """
    fills = list(dict.fromkeys(each["fill"] for each in results["measurements"]))
    lowest = f", lowest of {' and '.join(fills)} fill" if len(fills) > 1 else ""
    heading = f"{PRIMARY_METRIC}, {words(DIRECTION)}{lowest}, by level"
    return [heading, "", *_table(results["measurements"], width), "", *_notes(results)]


def _table(measurements: Sequence[Item], width: int) -> list[str]:
    levels = list(dict.fromkeys(each["level"] for each in measurements))
    rows: dict[tuple[str, str], list[Item]] = {}
    for each in measurements:
        rows.setdefault((each["model"], each["pattern"]), []).append(each)
    table = [["model", "pattern", *(f"{level * 100:g}%" for level in levels), "verdict"]]
    for (model, pattern), row in rows.items():
        verdicts = {each["verdict"] for each in row}
        verdict = next(each for each in VERDICTS if each in verdicts)
        values = (_lowest(row, level) for level in levels)
        table.append([model, pattern, *values, words(verdict).upper()])
    chances = [
        each["chance"][PRIMARY_METRIC]
        for each in measurements
        if each["direction"] == DIRECTION and each["chance"]
    ]
    if chances:
        chance = fraction(max(chances)).removeprefix("0")
        table.append(["chance", "", *([chance] * len(levels)), ""])
    left = {0, 1, len(table[0]) - 1}
    lines = aligned(table, left)
    return lines if max(map(columns, lines)) <= width else aligned(table, left, gap=1)


def _lowest(measurements: Sequence[Item], level: float) -> str:
    """Return the lowest headline of a level over the fills; a dash if any is not measured."""
    at_level = [each for each in measurements if each["level"] == level]
    values = [
        each["metrics"].get(PRIMARY_METRIC, {}).get("value")
        for each in at_level
        if each["direction"] == DIRECTION
    ]
    text = fraction(min(values) if values and None not in values else None).removeprefix("0")
    return text + ("*" if any(each["verdict"] == "fail" for each in at_level) else "")


def _notes(results: dict[str, Any]) -> list[str]:
    measurements, properties = results["measurements"], results["properties"]
    lines = []
    if any(each["verdict"] == "fail" for each in measurements):
        lines.append("* a measurement at this level failed, in some fill or direction")
    for curve in results["curves"]:
        if curve["direction"] == DIRECTION:
            area = curve["area_under_curve"]
            mean = (
                f"{area['value']:.3f} {interval(area)}" if area["value"] is not None else "unknown"
            )
            name = f"{curve['model']} {curve['pattern']} {curve['fill']}"
            lines.append(f"{name}: mean over levels {mean}; {half_loss(curve, measurements)}")
    passed = sum(each["verdict"] == "pass" for each in properties)
    lines.append(f"properties: {passed} of {len(properties)} hold")
    lines += _broken(properties)
    faults = Counter(each["message"] for each in measurements if each["reason"] in RECORD_FAULTS)
    lines += [f"not counted: {n} ({cause})" for cause, n in faults.items()]
    if damaged := results["timing"]["store"]["damaged"]:
        lines.append(f"store: damaged entries recomputed: {damaged}")
    lines += [
        f"excluded{f' for {model}' if model else ''}: {n} ({reason})"
        for model, reason, n in excluded(results["protocol"])
    ]
    lines += misnamed(results["protocol"])
    lines += comparison_lines(results["comparison"])
    lines += _not_measured([*measurements, *properties])
    lines += followup_lines(results["followup"], results["verdict"])
    return lines + time_lines(results["timing"])


def _broken(properties: Sequence[Item]) -> list[str]:
    """Return a line per failed property; a repeated message is replaced by a reference."""
    shown: dict[str, str] = {}
    lines = []
    for each in properties:
        if each["verdict"] == "fail":
            name = f"{each['model']}, {each['property']}"
            first = shown.setdefault(each["message"], name)
            why = each["message"] if first == name else f"the same as {first}"
            lines.append(f"  {name}: FAIL {why}")
    return lines


def _not_measured(items: Sequence[Item]) -> list[str]:
    """Return the number of items that were not measured, one line per cause."""
    missing = Counter(each["message"] for each in items if each["verdict"] == "not_measured")
    lines = [f"not measured: {n} ({cause})" for cause, n in missing.items()]
    if all(each["reason"] == "not_run" for each in items):
        lines.append(
            "no case was run: all were deselected, or no test file has"
            " 'from robustness.suite import *'"
        )
    return lines
