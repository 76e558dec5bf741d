"""Parser of bounds such as ``hit@10 >= 0.8`` and ``mrr no worse than clip by 0.02``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from robustness.errors import Code
from robustness.metrics import RANGES
from robustness.thresholds._values import CHANCE, Bound
from robustness.thresholds._yaml import Node

NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
NAME = r"[A-Za-z_][A-Za-z0-9_.]*"

_COMPARISON = re.compile(r"\s*(?P<metric>[^\s<>=]+)\s*(?P<operator>[<>]=)\s*(?P<limit>.*?)\s*")
_NO_WORSE = re.compile(
    r"\s*(?P<metric>[^\s<>=]+)\s+no\s+worse\s+than\s+(?P<name>\S+)(?:\s+by\s+(?P<by>\S+))?\s*"
)
_REFERENCE = re.compile(
    rf"(?:(?P<factor>{NUMBER})\s*\*\s*)?(?P<name>{NAME})"
    rf"(?:\s*(?P<sign>[-+])\s*(?P<plus>{NUMBER}))?"
)
_FORMS = (
    "is not METRIC >= LIMIT, METRIC <= LIMIT or METRIC no worse than MODEL by NUMBER, such as"
    " hit@10 >= 0.8, hit@10 >= 3 * chance or hit@10 no worse than clip by 0.02"
)

LOWER_IS_BETTER = frozenset({"median_rank"})
"""Metrics for which a lower value is better."""


def read_bound(
    node: Node, metrics: Sequence[str] = tuple(RANGES), models: Sequence[str] = ()
) -> Bound:
    """Parse a bound.

    Args:
        node: The text.
        metrics: The allowed metrics.
        models: The models that the bound may refer to, besides chance; if empty, the limit must
            be a number.

    Raises:
        UsageError: The text has another form, or a metric, model or number that is not allowed.

    Example:
        >>> import yaml
        >>> from pathlib import Path
        >>> text = yaml.compose("hit@10 no worse than clip by 0.02", Loader=yaml.SafeLoader)
        >>> bound = read_bound(Node(Path("thresholds.yaml"), "bound", text), models=["clip"])
        >>> str(bound), bound.line
        ('hit@10 >= clip - 0.02', 1)
    """
    text = node.text()
    match = _COMPARISON.fullmatch(text) or _NO_WORSE.fullmatch(text)
    if not match:
        raise node.error(f"bound {text!r} {_FORMS}", Code.BOUND_MALFORMED)
    metric = match["metric"]
    if metric not in metrics:
        raise node.unknown("metric", metric, metrics)
    if match.re is _NO_WORSE:
        return _no_worse(node, metric, match["name"], match["by"], models)
    at_least = match["operator"] == ">="
    reference = _REFERENCE.fullmatch(match["limit"])
    if reference and reference["name"].lower() not in {"nan", "inf", "infinity"}:
        name = _reference(node, metric, reference["name"], models)
        factor = float(reference["factor"] or 1)
        plus = float(f"{reference['sign']}{reference['plus']}") if reference["plus"] else 0.0
        _check_range(node, "the factor", factor, (0.0, math.inf))
        _check_range(node, f"the number added to {name}", plus, _difference_range(metric))
        return Bound(metric, at_least, plus, node.line, name, factor)
    return Bound(metric, at_least, _number(node, metric, match["limit"]), node.line)


def _no_worse(node: Node, metric: str, name: str, by: str | None, models: Sequence[str]) -> Bound:
    reference = _reference(node, metric, name, models)
    slack = 0.0
    if by is not None:
        slack = _float(node, by)
        _check_range(node, "the number after 'by'", slack, (0.0, _difference_range(metric)[1]))
    at_most = metric in LOWER_IS_BETTER
    return Bound(metric, not at_most, slack if at_most else 0.0 - slack, node.line, reference)


def _reference(node: Node, metric: str, name: str, models: Sequence[str]) -> str:
    if not models:
        raise node.error(
            f"bound {node.text()!r}: {name!r} is not a number; a number is needed here",
            Code.BOUND_MALFORMED,
        )
    if name not in {CHANCE, *models}:
        allowed = ("a number", CHANCE, *models)
        raise node.unknown("limit", name, allowed, f" in bound {node.text()!r}")
    if name == CHANCE and metric.startswith("retention("):
        raise node.error(
            f"bound {node.text()!r}: retention is already relative to chance; write a number or"
            " another model",
            Code.BOUND_MALFORMED,
        )
    return name


def _float(node: Node, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise node.error(
            f"bound {node.text()!r}: {text!r} is not a number", Code.BOUND_MALFORMED
        ) from error


def _number(node: Node, metric: str, text: str) -> float:
    limit = _float(node, text)
    low, high = (0.0, 1.0) if metric.startswith("retention(") else RANGES[metric]
    if not (math.isfinite(limit) and low <= limit <= high):
        allowed = f"at most {high:g}" if math.isfinite(high) else "finite"
        hint = " (80 % is written 0.8)" if high == 1 else ""
        raise node.error(
            f"bound {node.text()!r}: {metric} is at least {low:g} and {allowed}{hint}",
            Code.OUT_OF_RANGE,
        )
    return limit


def _difference_range(metric: str) -> tuple[float, float]:
    """Return the lowest and highest difference of a metric between two models."""
    low, high = (0.0, 1.0) if metric.startswith("retention(") else RANGES[metric]
    return low - high, high - low


def _check_range(node: Node, what: str, value: float, allowed: tuple[float, float]) -> None:
    low, high = allowed
    if not (math.isfinite(value) and low <= value <= high):
        highest = f"at most {high:g}" if math.isfinite(high) else "finite"
        hint = " (1 point is written 0.01)" if high == 1 else ""
        raise node.error(
            f"bound {node.text()!r}: {what} is {value:g}; it must be at least {low:g} and"
            f" {highest}{hint}",
            Code.OUT_OF_RANGE,
        )
