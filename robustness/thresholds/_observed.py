"""Bounds supported by the measurements of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from robustness.metrics import LABEL_MEANS, RANGES
from robustness.metrics.bootstrap import CONFIDENCE
from robustness.thresholds._values import Bound

MARK = "# --robustness-update"
"""Start of the comment line of an update; the next update replaces such a line."""

DIGITS = 3
"""Decimals of a written bound, which is rounded to the lenient side."""

Measured = Mapping[str, Any]
"""A measurement of ``results.json``."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Bound derived from a measurement.

    Attributes:
        bound: The bound to write.
        cell: The measurement.
    """

    bound: Bound
    cell: Measured

    @property
    def text(self) -> str:
        """The bound as written in the file."""
        return str(self.bound)

    @property
    def estimate(self) -> str:
        """The observed value of the metric with its interval."""
        estimate = self.cell["metrics"][self.bound.metric]
        return (
            f"{self.bound.metric} {estimate['value']:.3f}"
            f" [{estimate['low']:.3f}, {estimate['high']:.3f}]"
        )

    @property
    def description(self) -> str:
        """The bound with the observed value and the number of queries."""
        n = query_count(self.bound.metric, self.cell)
        return f"{self.text} (observed {self.estimate}, n = {n})"


def observe(
    metric: str, cells: Sequence[Measured], slack: float, *, at_least: bool = True
) -> Observed | str:
    """Return the bound that some measurements support, or the reason why there is none.

    Args:
        metric: A name of :data:`robustness.metrics.RANGES`.
        cells: The measurements that the bound applies to, at least one.
        slack: The distance between the bound and the end of the interval, on the lenient side.
        at_least: True for a lower bound, False for an upper bound.

    Returns:
        The bound; or a message: a metric has no interval, or n is too small to distinguish the
        model from chance.
    """
    end = "low" if at_least else "high"
    finite = [cell for cell in cells if cell["metrics"].get(metric, {}).get(end) is not None]
    if len(finite) < len(cells):
        return (
            f"{metric} has no interval in {len(cells) - len(finite)} of {len(cells)} measurements"
        )
    worst = min(finite, key=lambda cell: _lower_end(metric, cell))
    if not at_least:
        worst = max(finite, key=lambda cell: cell["metrics"][metric][end])
    low, high = RANGES[metric]
    if metric.startswith("retention("):
        low, high = 0.0, 1.0
    # Slack is a fraction, and a rank is a count.
    margin = slack if math.isfinite(high) else 0.0
    reached = _lower_end(metric, worst) if at_least else worst["metrics"][metric][end]
    # Float noise must not cost a decimal: .81 - .01 is below .8.
    noise = 1e-9
    limit = (
        math.floor((reached - margin) * 10**DIGITS + noise)
        if at_least
        else math.ceil((reached + margin) * 10**DIGITS - noise)
    ) / 10**DIGITS
    if at_least:
        for cell in cells:
            if reason := _unresolved_reason(metric, cell, limit, margin):
                return reason
    limit = min(max(limit, low), high)
    return Observed(Bound(metric, at_least, limit, line=0), worst)


def query_count(metric: str, cell: Measured) -> int:
    """Return the number of queries behind a metric: those with labels, or all."""
    bare = metric.removeprefix("retention(").removesuffix(")")
    return int(cell["labelled" if bare in LABEL_MEANS else "n"])


def _lower_end(metric: str, cell: Measured) -> float:
    """Return the lower of the interval's lower end and that of a score interval (Wilson 1927).

    Resampling queries that are all answered correctly shows no spread for any n: with 48 of 48
    correct, the bootstrap interval is [1, 1], and the score interval starts at .926.
    """
    estimate = cell["metrics"][metric]
    low: float = estimate["low"]
    bare = metric.removeprefix("retention(").removesuffix(")")
    if bare != metric and bare in cell["metrics"] and estimate["value"] > 0:
        # Only of the occluded value; the interval covers the uncertainty of the clean one.
        value, chance = cell["metrics"][bare]["value"], cell["chance"][bare]
        retention = (_lower_end(bare, cell) - chance) * estimate["value"] / (value - chance)
        return float(min(low, retention))
    _, highest = RANGES[metric]
    if not math.isfinite(highest):
        return low
    # Values of only 0 and the highest have the largest variance for a given mean.
    share = estimate["value"] / highest
    z2, n = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) ** 2, query_count(metric, cell)
    spread = math.sqrt(max(share * (1 - share), 0) * z2 / n + (z2 / (2 * n)) ** 2)
    return float(min(low, highest * (share + z2 / (2 * n) - spread) / (1 + z2 / n)))


def _unresolved_reason(metric: str, cell: Measured, limit: float, slack: float) -> str:
    """Return why a limit does not distinguish a measurement from chance; empty if it does."""
    chance = 0.0 if metric.startswith("retention(") else cell["chance"].get(metric, 0.0)
    if limit > chance:
        return ""
    estimate, n = cell["metrics"][metric], query_count(metric, cell)
    # The width of an interval falls with the root of n; the bound must be above chance.
    distance = estimate["value"] - slack - chance - 10**-DIGITS
    if distance <= 0:
        return (
            f"{metric} is {estimate['value']:.3f} at chance {chance:.3f}: not distinguishable from"
            f" chance at any number of queries with slack {slack:g}"
        )
    needed = math.ceil(n * ((estimate["value"] - _lower_end(metric, cell)) / distance) ** 2)
    return (
        f"not distinguishable from chance ({chance:.3f}) with n = {n}: {metric} is"
        f" {estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]; this would need"
        f" n = {max(needed, n + 1)}"
    )
