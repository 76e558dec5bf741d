"""What curves and sets say, as the terminal and the page tell it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from robustness.evalset import suggestions
from robustness.metrics import PRIMARY_METRIC

PLACE = ("model", "pattern", "fill", "direction")


def half_lost(curve: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> str:
    """Where half of what a curve begins with is lost.

    Args:
        curve: A curve of ``results.json``.
        cells: Its cases.
    """
    if _at_chance(curve, cells):
        return "with nothing hidden it is not told from chance"
    half = curve["level_of_half_loss"]
    if half["value"] is None:
        return "less than half of it is lost at every level measured"
    return f"half of it is lost at level {half['value']:.2f} {span(half)}"


def _at_chance(curve: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> bool:
    """Whether what guessing gets lies within the clean interval, or above it.

    An interval that is not known, as that of a single study, tells nothing from chance.
    """
    lows = [
        (cell["metrics"][PRIMARY_METRIC]["low"], cell["chance"][PRIMARY_METRIC])
        for cell in cells
        if cell["level"] == 0 and all(cell[name] == curve[name] for name in PLACE)
    ]
    return any(low is None or low <= chance for low, chance in lows)


def span(estimate: Mapping[str, Any]) -> str:
    """An interval, such as ``[0.52, 0.57]``; a dash for an end that is not known."""
    low, high = (
        "-" if estimate[end] is None else f"{estimate[end]:.2f}" for end in ("low", "high")
    )
    return f"[{low}, {high}]"


def misnamed(protocol: Mapping[str, Any]) -> list[str]:
    """A line where columns of the set are not read and seem to be meant for some that are.

    Args:
        protocol: That of ``results.json``.
    """
    found = protocol["evalset"].get("misnamed")
    return [suggestions(found)] if found else []
