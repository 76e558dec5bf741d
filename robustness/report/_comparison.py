"""What a person is told of the comparison with a baseline, and of what the run left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from robustness._util.text import counted, points
from robustness.verdict.reasons import Reason

SHOWN = 8
"""The lines that a terminal shows of one kind; the rest is counted, and on the page."""

Item = Mapping[str, Any]
"""One of ``comparison.cases`` of ``results.json``."""


def comparison_lines(comparison: Item | None) -> list[str]:
    """The comparison in a few lines; none where there was none.

    Args:
        comparison: ``comparison`` of ``results.json``.
    """
    if comparison is None:
        return []
    cases = worst_first(comparison["comparisons"])
    compared = [case for case in cases if case["drop"]]
    failed = [case for case in cases if case["verdict"] == "fail"]
    passed = sum(case["verdict"] == "pass" for case in compared)
    said = f"{passed} of {len(compared)} cases pass" if compared else "nothing is compared"
    lines = [f"beside baseline {comparison['baseline']}: {said}"]
    if other := other_precision(comparison):
        lines.append(f"  {other}")
    if compared:
        worst = max(compared, key=lambda case: case["drop"]["value"])
        lines += [
            f"  {rule(comparison)}",
            f"  largest fall: {fall(worst)}, {place(worst)}",
            f"  smallest fall that this n could have seen: {seen(compared)}",
        ]
    return lines + _some([f"  FAIL {_failure(case)}" for case in failed])


def other_precision(comparison: Item) -> str:
    """That the baseline was computed otherwise; empty where it was not."""
    here, then = (comparison["precision"][run] for run in ("here", "baseline"))
    return "" if here == then else f"forward passes in {here} here and in {then} in the baseline"


def _some(lines: Sequence[str], most: int | None = SHOWN) -> list[str]:
    more = 0 if most is None else len(lines) - most
    return [*lines[:most], *([f"  and {more} more, see the page"] if more > 0 else [])]


def _failure(case: Item) -> str:
    """A failed case in as few words as tell it from its neighbours."""
    if case["drop"] is None:
        return str(case["message"])
    if case["reason"] == Reason.COMPARISON_VACUOUS:
        return f"{place(case)}: {case['message']}"
    if case["not_excluded"] is not None:
        fell = points(case["drop"]["value"])
        return f"{place(case)}: {fell}, up to {100 * case['not_excluded']:.1f} not excluded"
    return f"{place(case)}: {fall(case)}, p = {case['adjusted_p']:.2g}"


def worst_first(cases: Sequence[Item]) -> list[Item]:
    """The cases: what failed first, and of that what could not be compared, then by the fall."""

    def rank(case: Item) -> tuple[bool, bool, float]:
        failed = case["verdict"] == "fail"
        return not failed, bool(case["drop"]), -case["drop"]["value"] if case["drop"] else 0.0

    return sorted(cases, key=rank)


def rule(comparison: Item) -> str:
    """When a case fails, in words."""
    metric, margin = comparison["metric"], points(comparison["margin"])
    if comparison["mode"] == "non_inferiority":
        sure = f"{100 * (1 - comparison['alpha']):g} %"
        return f"passes where a fall of {metric} by {margin} is excluded, {sure} over all cases"
    return (
        f"fails where {metric} fell by over {margin} and log ranks rose, p <="
        f" {comparison['alpha']:g} (Holm)"
    )


def place(case: Item) -> str:
    """Where a case stands, such as ``phantom, square, grey at 50 %``."""
    if case["pattern"] is None:
        return str(case["model"] or "comparison")
    return f"{case['model']}, {case['pattern']}, {case['fill']} at {100 * case['level']:g} %"


def fall(case: Item) -> str:
    """By how much the metric fell, with its interval."""
    drop = case["drop"]
    if drop["low"] is None or drop["high"] is None:
        return points(drop["value"])
    return f"{points(drop['value'])} [{100 * drop['low']:.1f}, {100 * drop['high']:.1f}]"


def seen(cases: Sequence[Item]) -> str:
    """The smallest drops that the cases could have seen, from the best case to the worst."""
    known = [case["smallest_drop"] for case in cases if case["smallest_drop"] is not None]
    if not known:
        return "none at all"
    text = points(min(known))
    if max(known) - min(known) >= 0.0005:  # noqa: PLR2004 - shown with a tenth of a point
        text = f"{100 * min(known):.1f} to {points(max(known))}, by case"
    blind = len(cases) - len(known)
    return f"{text}; none at all in {counted(blind, 'case')}" if blind else text


def followup_lines(followup: Item, verdict: str, most: int | None = SHOWN) -> list[str]:
    """What the run left behind.

    Args:
        followup: ``followup`` of ``results.json``.
        verdict: The run's.
        most: How many bounds are named that were refused, and that were tightened; None for
            all. Those that were loosened are all named.
    """
    lines = []
    if followup["saved"]:
        failed = "" if verdict == "pass" else " (of a run that fails)"
        lines.append(f"baseline saved{failed}: {followup['saved']}")
    updates = followup["updates"]
    if updates:
        written = sum(update["done"] for update in updates)
        loosened = [update for update in updates if update["loosened"]]
        refused = len(updates) - written
        lines.append(f"bounds written: {written}, LOOSENED: {len(loosened)}, refused: {refused}")
        if written:
            lines.append("  this verdict is by the bounds as they were, the next by these")
        # What lets a worse model pass is said bound by bound, however many there are.
        lines += [f"  {update['text']}" for update in loosened]
        lines += _some([f"  {update['text']}" for update in updates if not update["done"]], most)
        others = [update for update in updates if update["done"] and not update["loosened"]]
        lines += _some([f"  {update['text']}" for update in others], most)
    elif followup["unwritten"]:
        lines.append(f"bounds written: 0 ({followup['unwritten']})")
    return lines + [f"not done: {problem}" for problem in followup["problems"]]
