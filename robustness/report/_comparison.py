"""Texts about the comparison with a baseline, and about the follow-up of a run."""

from __future__ import annotations

from collections.abc import Sequence

from robustness._util.text import counted, points
from robustness.report._common import Item, worst_first
from robustness.verdict.reasons import Reason

MAX_LINES = 8
"""Lines that a terminal shows of one kind; the rest is counted, and on the page."""


def comparison_lines(comparison: Item | None) -> list[str]:
    """Return the comparison in a few lines; none if there is no comparison.

    Args:
        comparison: ``comparison`` of ``results.json``.
    """
    if comparison is None:
        return []
    cases = worst_first(comparison["comparisons"])
    compared = [case for case in cases if case["drop"]]
    passed = sum(case["verdict"] == "pass" for case in compared)
    result = f"{passed} of {len(compared)} comparisons pass" if compared else "nothing is compared"
    lines = [f"compared with baseline {comparison['baseline']}: {result}"]
    if note := precision_note(comparison):
        lines.append(f"  {note}")
    if compared:
        worst = max(compared, key=lambda case: case["drop"]["value"])
        lines += [
            f"  {rule(comparison)}",
            f"  largest drop: {_drop(worst)}, {place(worst)}",
            f"  smallest detectable drop: {_detectable(compared)}",
        ]
    return lines + _some(
        [f"  FAIL {_failure(case)}" for case in cases if case["verdict"] == "fail"]
    )


def precision_note(comparison: Item) -> str:
    """Return that the baseline was computed in another precision; empty if it was not."""
    here, there = (comparison["precision"][run] for run in ("here", "baseline"))
    return "" if here == there else f"forward passes in {here} here and in {there} in the baseline"


def rule(comparison: Item) -> str:
    """Return the condition under which a comparison passes or fails, in words."""
    metric, margin = comparison["metric"], points(comparison["margin"])
    if comparison["mode"] == "non_inferiority":
        confidence = f"{100 * (1 - comparison['alpha']):g} %"
        return (
            f"passes if a drop of {metric} by {margin} is excluded, {confidence} over all"
            " comparisons"
        )
    return (
        f"fails if {metric} drops by over {margin} and log ranks rise,"
        f" p <= {comparison['alpha']:g} (Holm)"
    )


def place(case: Item) -> str:
    """Return the coordinates of a comparison, such as ``phantom, square, grey at 50 %``."""
    if case["pattern"] is None:
        return str(case["model"] or "comparison")
    return f"{case['model']}, {case['pattern']}, {case['fill']} at {100 * case['level']:g} %"


def _some(lines: Sequence[str], most: int | None = MAX_LINES) -> list[str]:
    more = 0 if most is None else len(lines) - most
    return [*lines[:most], *([f"  and {more} more, see the page"] if more > 0 else [])]


def _failure(case: Item) -> str:
    """Return a failed comparison in a short line."""
    if not case["drop"]:
        return str(case["message"])
    if case["reason"] == Reason.COMPARISON_VACUOUS:
        return f"{place(case)}: {case['message']}"
    if case["not_excluded"] is not None:
        drop = points(case["drop"]["value"])
        return f"{place(case)}: {drop}, up to {100 * case['not_excluded']:.1f} not excluded"
    return f"{place(case)}: {_drop(case)}, p = {case['adjusted_p']:.2g}"


def _drop(case: Item) -> str:
    value, low, high = (case["drop"][part] for part in ("value", "low", "high"))
    if low is None or high is None:
        return points(value)
    return f"{points(value)} [{100 * low:.1f}, {100 * high:.1f}]"


def _detectable(cases: Sequence[Item]) -> str:
    """Return the range of the smallest detectable drops of the comparisons."""
    drops = [case["smallest_drop"] for case in cases if case["smallest_drop"] is not None]
    if not drops:
        return "none"
    low, high = f"{100 * min(drops):.1f}", f"{100 * max(drops):.1f}"
    text = points(min(drops)) if low == high else f"{low} to {points(max(drops))}"
    unknown = len(cases) - len(drops)
    return f"{text}; none in {counted(unknown, 'comparison')}" if unknown else text


def followup_lines(followup: Item, verdict: str, most: int | None = MAX_LINES) -> list[str]:
    """Return lines about the saved baseline and the written bounds.

    Args:
        followup: ``followup`` of ``results.json``.
        verdict: The verdict of the run.
        most: Number of refused and of tightened bounds to name; None for all. Loosened bounds
            are always named, since they let a worse model pass.
    """
    lines = []
    if followup["saved"]:
        failed = "" if verdict == "pass" else " (of a run that fails)"
        lines.append(f"baseline saved{failed}: {followup['saved']}")
    updates = followup["updates"]
    if updates:
        written = [update for update in updates if update["done"]]
        loosened = [f"  {update['text']}" for update in updates if update["loosened"]]
        tightened = [f"  {update['text']}" for update in written if not update["loosened"]]
        refused = [f"  {update['text']}" for update in updates if not update["done"]]
        lines.append(
            f"bounds written: {len(written)}, LOOSENED: {len(loosened)}, refused: {len(refused)}"
        )
        if written:
            lines.append("  this verdict is by the old bounds; the next run uses the new ones")
        lines += [*loosened, *_some(refused, most), *_some(tightened, most)]
    elif followup["unwritten"]:
        lines.append(f"bounds written: 0 ({followup['unwritten']})")
    return lines + [f"not done: {problem}" for problem in followup["problems"]]
