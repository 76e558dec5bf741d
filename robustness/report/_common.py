"""Texts and orders shared by the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from robustness.evalset import suggestions
from robustness.metrics import PRIMARY_METRIC

Item = Mapping[str, Any]
"""A measurement, property, curve, comparison or other object of ``results.json``."""

VERDICTS = ("fail", "not_measured", "pass")
"""The verdicts, the worst first."""

CURVE_KEY = ("model", "pattern", "fill", "direction")


def worst_first(items: Iterable[Item]) -> list[Item]:
    """Return the items by verdict; comparisons of one verdict by drop, impossible ones first."""

    def key(item: Item) -> tuple[int, bool, float]:
        drop = item.get("drop")
        return VERDICTS.index(item["verdict"]), bool(drop), -drop["value"] if drop else 0.0

    return sorted(items, key=key)


def fraction(value: float | None) -> str:
    """Return a fraction with three decimals; a dash if it is unknown."""
    return "-" if value is None else f"{value:.3f}"


def percent(share: float) -> str:
    """Return a fraction in percent, such as ``30 %``."""
    return f"{100 * share:.3g} %"


def words(name: str) -> str:
    """Return a name such as ``image_to_report`` as words."""
    return name.replace("_", " ")


def interval(estimate: Item) -> str:
    """Return an interval such as ``[0.52, 0.57]``, with a dash for an unknown end."""
    ends = (estimate["low"], estimate["high"])
    return f"[{', '.join('-' if end is None else f'{end:.2f}' for end in ends)}]"


def half_loss(curve: Item, measurements: Sequence[Item]) -> str:
    """Return the level at which a curve has lost half of its clean value, in words.

    Args:
        curve: A curve of ``results.json``.
        measurements: The measurements of ``results.json``.
    """
    if _at_chance(curve, measurements):
        return "not distinguishable from chance on clean images"
    half = curve["level_of_half_loss"]
    if half["value"] is None:
        return "less than half of it is lost at every measured level"
    return f"half of it is lost at level {half['value']:.2f} {interval(half)}"


def _at_chance(curve: Item, measurements: Sequence[Item]) -> bool:
    """Return True if the clean interval includes chance or is unknown."""
    lows = [
        (each["metrics"][PRIMARY_METRIC]["low"], each["chance"][PRIMARY_METRIC])
        for each in measurements
        if each["level"] == 0 and all(each[name] == curve[name] for name in CURVE_KEY)
    ]
    return any(low is None or low <= chance for low, chance in lows)


def excluded(protocol: Item) -> list[tuple[str, str, int]]:
    """Return model, reason and number of excluded items; the model is empty if it is any."""
    of_set = protocol["evalset"].get("excluded", {})
    rows = [("", reason, count) for reason, count in of_set.items()]
    for model in protocol["models"]:
        rows += [
            (model["name"], reason, count - of_set.get(reason, 0))
            for reason, count in model["excluded"].items()
            if count > of_set.get(reason, 0)
        ]
    return rows


def misnamed(protocol: Item) -> list[str]:
    """Return a line about columns of the set that are not read but similar to known ones."""
    columns = protocol["evalset"].get("misnamed")
    return [suggestions(columns)] if columns else []
