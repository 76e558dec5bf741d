"""What a person is told of the comparison with a baseline, and of what the run left behind."""

from __future__ import annotations

from typing import Any

from robustness.report._words import points


def comparison_lines(comparison: dict[str, Any] | None) -> list[str]:
    """The comparison in a few lines; none where there was none.

    Args:
        comparison: ``comparison`` of ``results.json``.
    """
    if comparison is None:
        return []
    cases = comparison["cases"]
    failed = [case for case in cases if case["verdict"] == "fail"]
    compared = [case for case in cases if "drop" in case]
    lines = [
        f"beside baseline {comparison['baseline']}: {len(compared) - len(failed_of(compared))} of"
        f" {len(compared)} cases passed ({rule(comparison)})"
    ]
    if compared:
        worst = max(compared, key=lambda case: case["drop"]["value"])
        lines.append(f"  largest fall: {place(worst)}: {fall(worst)}")
        lines.append(f"  smallest fall that this n could have seen: {seen(compared)}")
    return lines + [f"  {place(case)}: FAIL {case['message']}" for case in failed]


def failed_of(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cases that failed."""
    return [case for case in cases if case["verdict"] == "fail"]


def rule(comparison: dict[str, Any]) -> str:
    """When a case fails, in words."""
    metric, margin = comparison["metric"], points(comparison["margin"])
    if comparison["mode"] == "non_inferiority":
        return (
            f"passes where a fall of {metric} by {margin} or more is excluded, at level"
            f" {comparison['alpha']:g} over all cases"
        )
    return (
        f"fails where {metric} fell by more than {margin} and a change is shown, at level"
        f" {comparison['alpha']:g} over all cases"
    )


def place(case: dict[str, Any]) -> str:
    """Where a case stands, such as ``phantom, square, grey at 50 %``."""
    if "pattern" not in case:
        return str(case.get("model", "comparison"))
    return f"{case['model']}, {case['pattern']}, {case['fill']} at {100 * case['level']:g} %"


def fall(case: dict[str, Any]) -> str:
    """By how much the metric fell, with its interval."""
    drop = case["drop"]
    if drop["low"] is None or drop["high"] is None:
        return points(drop["value"])
    return f"{points(drop['value'])} [{100 * drop['low']:.1f}, {100 * drop['high']:.1f}]"


def seen(cases: list[dict[str, Any]]) -> str:
    """The smallest drops that the cases could have seen, from the best case to the worst."""
    known = [case["smallest_drop"] for case in cases if case["smallest_drop"] is not None]
    if not known:
        return "none at all"
    text = points(min(known))
    if max(known) - min(known) >= 0.0005:  # noqa: PLR2004 - shown with a tenth of a point
        text = f"{100 * min(known):.1f} to {points(max(known))}, by case"
    blind = len(cases) - len(known)
    return f"{text}; none at all in {blind} cases" if blind else text


def followup_lines(followup: dict[str, Any]) -> list[str]:
    """What the run left behind.

    Args:
        followup: ``followup`` of ``results.json``.
    """
    lines = []
    if followup["saved"]:
        lines.append(f"baseline saved: {followup['saved']}")
    updates = followup["updates"]
    if updates:
        written = sum(update["done"] for update in updates)
        lines.append(f"bounds written: {written}, refused: {len(updates) - written}")
        lines += [f"  {update['text']}" for update in updates]
        if written:
            lines.append(
                "  this verdict is by the bounds as they were; run again for that by these"
            )
    if "problem" in followup:
        lines.append(f"not done: {followup['problem']}")
    return lines
