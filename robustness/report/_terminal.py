"""The summary a person reads after the run."""

from __future__ import annotations

from collections import Counter
from typing import Any

from robustness._util.text import aligned, columns
from robustness.metrics import PRIMARY_METRIC
from robustness.report._comparison import comparison_lines, followup_lines
from robustness.report._time import time_lines
from robustness.report._words import half_lost, misnamed, span
from robustness.verdict.reasons import RECORD_FAULTS

SHOWN = "image_to_report"
"""The direction whose curve the table shows: an image finds its report."""


def summary(results: dict[str, Any], width: int) -> list[str]:
    """The lines of the summary: a row a model and pattern, then properties and verdict.

    Args:
        results: The content of ``results.json``.
        width: Columns of the terminal.
    """
    cells = results["measurements"]
    fills = list(dict.fromkeys(cell["fill"] for cell in cells))
    lowest = f", lowest of {' and '.join(fills)} fill" if len(fills) > 1 else ""
    lines = [f"{PRIMARY_METRIC}, {SHOWN.replace('_', ' ')}{lowest}, by level", ""]
    lines += _table(results, width)
    lines += ["", *_notes(results)]
    return lines


def _table(results: dict[str, Any], width: int) -> list[str]:
    cells = results["measurements"]
    levels = list(dict.fromkeys(cell["level"] for cell in cells))
    rows = list(dict.fromkeys((cell["model"], cell["pattern"]) for cell in cells))
    body = []
    for model, pattern in rows:
        mine = [c for c in cells if (c["model"], c["pattern"]) == (model, pattern)]
        values = [_shown(mine, level) for level in levels]
        body.append([model, pattern, *values, _verdict(mine)])
    head = ["model", "pattern", *(f"{level * 100:g}%" for level in levels), "verdict"]
    chance = _chance(cells)
    if chance is not None:
        body.append(["chance", "", *([_fraction(chance)] * len(levels)), ""])
    table = [head, *body]
    words = {0, 1, len(head) - 1}
    lines = aligned(table, words)
    return lines if max(map(columns, lines)) <= width else aligned(table, words, gap=1)


def _shown(cells: list[dict[str, Any]], level: float) -> str:
    """The lowest headline of a level over the fills; a dash where one is not measured."""
    mine = [c for c in cells if c["level"] == level and c["direction"] == SHOWN]
    values = [c["metrics"].get(PRIMARY_METRIC, {}).get("value") for c in mine]
    known = [value for value in values if value is not None]
    text = _fraction(min(known)) if known and len(known) == len(values) else "-"
    return text + ("*" if any(c["verdict"] == "fail" for c in cells if c["level"] == level) else "")


def _fraction(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _verdict(cells: list[dict[str, Any]]) -> str:
    verdicts = {cell["verdict"] for cell in cells}
    if "fail" in verdicts:
        return "FAIL"
    return "PASS" if verdicts == {"pass"} else "NOT MEASURED"


def _chance(cells: list[dict[str, Any]]) -> float | None:
    values = [
        c["chance"].get(PRIMARY_METRIC) for c in cells if c["direction"] == SHOWN and c["chance"]
    ]
    return max(values) if values else None


def _notes(results: dict[str, Any]) -> list[str]:
    lines = []
    if any(cell["verdict"] == "fail" for cell in results["measurements"]):
        lines.append("* a measurement at this level failed, in some fill or direction")
    cells = results["measurements"]
    lines += [_curve_line(c, cells) for c in results["curves"] if c["direction"] == SHOWN]
    properties = results["properties"]
    held = sum(p["verdict"] == "pass" for p in properties)
    lines.append(f"properties: {held} of {len(properties)} hold")
    lines += _failed(properties)
    refused = Counter(c["message"] for c in results["measurements"] if c["reason"] in RECORD_FAULTS)
    lines += [f"not counted: {n} ({cause})" for cause, n in refused.items()]
    damaged = results["timing"]["store"]["damaged"]
    if damaged:
        lines.append(f"store: damaged entries computed anew: {damaged}")
    lines += _left_out(results["protocol"])
    lines += misnamed(results["protocol"])
    lines += comparison_lines(results["comparison"])
    lines += _not_measured([*results["measurements"], *properties])
    lines += followup_lines(results["followup"], results["verdict"])
    return lines + time_lines(results["timing"])


def _failed(properties: list[dict[str, Any]]) -> list[str]:
    """One line a property that does not hold; a cause that several have is said once."""
    told: dict[str, str] = {}
    lines = []
    for each in properties:
        if each["verdict"] == "fail":
            name = f"{each['model']}, {each['property']}"
            first = told.setdefault(each["message"], name)
            why = each["message"] if first == name else f"the same as {first}"
            lines.append(f"  {name}: FAIL {why}")
    return lines


def _left_out(protocol: dict[str, Any]) -> list[str]:
    """What of the collection no model, or one of them, was measured on: one line a reason."""
    of_set = protocol["evalset"].get("excluded", {})
    lines = [f"left out: {n} ({reason})" for reason, n in of_set.items()]
    for model in protocol["models"]:
        lines += [
            f"left out for {model['name']}: {n - of_set.get(reason, 0)} ({reason})"
            for reason, n in model["excluded"].items()
            if n > of_set.get(reason, 0)
        ]
    return lines


def _not_measured(items: list[dict[str, Any]]) -> list[str]:
    """How much was not measured, and why: one line a cause."""
    missing = [item for item in items if item["verdict"] == "not_measured"]
    counts = Counter(item["message"] for item in missing)
    lines = [f"not measured: {n} ({cause})" for cause, n in counts.items()]
    if all(item["reason"] == "not_run" for item in items):
        lines.append(
            "no case was run: were all deselected, or does no test file say"
            " 'from robustness.suite import *'?"
        )
    return lines


def _curve_line(curve: dict[str, Any], cells: list[dict[str, Any]]) -> str:
    area = curve["area_under_curve"]
    mean = "unknown" if area["value"] is None else f"{area['value']:.3f} {span(area)}"
    name = f"{curve['model']} {curve['pattern']} {curve['fill']}"
    return f"{name}: mean over levels {mean}; {half_lost(curve, cells)}"
