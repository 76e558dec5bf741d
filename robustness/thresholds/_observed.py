"""What a run observed, as the bound that it supports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from robustness.metrics import LABEL_MEANS, RANGES
from robustness.statistics import CONFIDENCE
from robustness.thresholds._values import Bound

MARK = "# --robustness-update"
"""What the comment line of an update begins with; the next update replaces it."""

DIGITS = 3
"""Decimals of a written bound, rounded to the lenient side."""

Found = Mapping[str, Any]
"""A case of ``results.json``."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A bound, and the measurement it rests on.

    Attributes:
        bound: The bound, as the file will read it.
        cell: The measurement, a case of ``results.json``.
    """

    bound: Bound
    cell: Found

    @property
    def text(self) -> str:
        """The bound as it is written."""
        return str(self.bound)

    @property
    def seen(self) -> str:
        """The metric with the value and interval that were observed."""
        estimate = self.cell["metrics"][self.bound.metric]
        return (
            f"{self.bound.metric} {estimate['value']:.3f}"
            f" [{estimate['low']:.3f}, {estimate['high']:.3f}]"
        )

    @property
    def said(self) -> str:
        """The bound and what was observed, for a person."""
        n = asked(self.bound.metric, self.cell)
        return f"{self.text} (observed {self.seen}, n = {n})"


def observe(
    metric: str, cells: Sequence[Found], slack: float, *, at_least: bool = True
) -> Observed | str:
    """The bound that some measurements support.

    Args:
        metric: A name of :data:`robustness.metrics.RANGES`.
        cells: The measurements it is to decide, at least one.
        slack: What the bound is more lenient by than the interval's end.
        at_least: On which side it is bound.

    Returns:
        The bound; or why there is none, for a person: a metric is not a number, or n is too
        small to tell the model from one that knows nothing.
    """
    end = "low" if at_least else "high"
    known = [cell for cell in cells if cell["metrics"].get(metric, {}).get(end) is not None]
    if len(known) < len(cells):
        return f"{metric} has no interval in {len(cells) - len(known)} of {len(cells)} measurements"
    worst = min(known, key=lambda cell: _lower_end(metric, cell))
    if not at_least:
        worst = max(known, key=lambda cell: cell["metrics"][metric][end])
    low, high = RANGES[metric]
    if metric.startswith("retention("):
        low, high = 0.0, 1.0
    # Ranks are counted, not shares: there is nothing to be lenient by a share of.
    room = slack if math.isfinite(high) else 0.0
    reached = _lower_end(metric, worst) if at_least else worst["metrics"][metric][end]
    # Less than a digit of float noise must not cost a decimal: .81 - .01 is below .8.
    noise = 1e-9
    limit = (
        math.floor((reached - room) * 10**DIGITS + noise)
        if at_least
        else math.ceil((reached + room) * 10**DIGITS - noise)
    ) / 10**DIGITS
    if at_least:
        unresolved = [why for cell in cells if (why := _unresolved(metric, cell, limit, room))]
        if unresolved:
            return unresolved[0]
    limit = min(max(limit, low), high)
    return Observed(Bound(metric, at_least, limit, line=0), worst)


def asked(metric: str, cell: Found) -> int:
    """How many queries a metric rests on: those with labels, or all."""
    bare = metric.removeprefix("retention(").removesuffix(")")
    return int(cell["labelled" if bare in LABEL_MEANS else "n"])


def _lower_end(metric: str, cell: Found) -> float:
    """The interval's lower end, and no higher than a score interval's (Wilson 1927).

    Resampling queries that were all answered right shows no spread, whatever n: with 48 of
    48 right the bootstrap says [1, 1], the score interval .926.
    """
    estimate = cell["metrics"][metric]
    low: float = estimate["low"]
    bare = metric.removeprefix("retention(").removesuffix(")")
    if bare != metric and bare in cell["metrics"] and estimate["value"] > 0:
        # Of the occluded value alone: how sure the clean one is, the interval tells.
        value, chance = cell["metrics"][bare]["value"], cell["chance"][bare]
        kept = (_lower_end(bare, cell) - chance) * estimate["value"] / (value - chance)
        return float(min(low, kept))
    _, highest = RANGES[metric]
    if not math.isfinite(highest):
        return low
    # Of all means of what lies between 0 and the highest, that of 0 and it spreads the most.
    share = estimate["value"] / highest
    z2, n = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) ** 2, asked(metric, cell)
    spread = math.sqrt(max(share * (1 - share), 0) * z2 / n + (z2 / (2 * n)) ** 2)
    return float(min(low, highest * (share + z2 / (2 * n) - spread) / (1 + z2 / n)))


def _unresolved(metric: str, cell: Found, limit: float, slack: float) -> str:
    """Why a limit says nothing of a measurement; empty where it does."""
    chance = 0.0 if metric.startswith("retention(") else cell["chance"].get(metric, 0.0)
    if limit > chance:
        return ""
    estimate, n = cell["metrics"][metric], asked(metric, cell)
    # An interval narrows with the root of n; the bound must come to lie above chance.
    room = estimate["value"] - slack - chance - 10**-DIGITS
    if room <= 0:
        return (
            f"{metric} is {estimate['value']:.3f} at chance {chance:.3f}: no n would tell the"
            f" model from one that knows nothing by a slack of {slack:g}"
        )
    needed = math.ceil(n * ((estimate["value"] - _lower_end(metric, cell)) / room) ** 2)
    return (
        f"n = {n} cannot tell it from chance, {chance:.3f}: {metric} is"
        f" {estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]; it would"
        f" need n = {max(needed, n + 1)}"
    )
