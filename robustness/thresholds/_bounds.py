"""Bounds as they are written: ``hit@10 >= 0.8``, ``mrr no worse than clip by 0.02``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

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
    "is not METRIC >= LIMIT, METRIC <= LIMIT or METRIC no worse than MODEL by NUMBER, as"
    " hit@10 >= 0.8, hit@10 >= 3 * chance and hit@10 no worse than clip by 0.02 are"
)

MALFORMED = "bound_malformed"
OUT_OF_RANGE = "out_of_range"

LOWER_IS_BETTER = frozenset({"median_rank"})
"""Metrics of which less is more."""


def read_bound(
    node: Node, metrics: Sequence[str] = tuple(RANGES), models: Sequence[str] = ()
) -> Bound:
    """Reads a bound.

    Args:
        node: The text.
        metrics: What it may be on.
        models: What it may be against, beside chance; empty where it must be a number.

    Raises:
        UsageError: It has another form, or a metric, a model or a number that may not be.
    """
    text = node.text()
    found = _COMPARISON.fullmatch(text) or _NO_WORSE.fullmatch(text)
    if not found:
        raise node.error(f"bound {text!r} {_FORMS}", MALFORMED)
    metric = found["metric"]
    if metric not in metrics:
        raise node.unknown("metric", metric, metrics)
    if found.re is _NO_WORSE:
        return _no_worse(node, metric, found["name"], found["by"], models)
    at_least = found["operator"] == ">="
    reference = _REFERENCE.fullmatch(found["limit"])
    if reference and reference["name"].lower() not in {"nan", "inf", "infinity"}:
        name = _reference(node, metric, reference["name"], models)
        factor = float(reference["factor"] or 1)
        plus = float(f"{reference['sign']}{reference['plus']}") if reference["plus"] else 0.0
        _check(node, "factor", factor, (0.0, math.inf))
        _check(node, f"what is added to {name}", plus, _span(metric))
        return Bound(metric, at_least, plus, node.line, name, factor)
    return Bound(metric, at_least, _number(node, metric, found["limit"]), node.line)


def _no_worse(node: Node, metric: str, name: str, by: str | None, models: Sequence[str]) -> Bound:
    reference = _reference(node, metric, name, models)
    slack = 0.0
    if by is not None:
        slack = _float(node, by)
        _check(node, "what follows 'by'", slack, (0.0, _span(metric)[1]))
    worse = metric in LOWER_IS_BETTER
    return Bound(metric, not worse, slack if worse else 0.0 - slack, node.line, reference)


def _reference(node: Node, metric: str, name: str, models: Sequence[str]) -> str:
    if not models:
        raise node.error(
            f"bound {node.text()!r}: {name!r} is no number; a number is needed here", MALFORMED
        )
    if name not in {CHANCE, *models}:
        known = ("a number", CHANCE, *models)
        raise node.unknown("limit", name, known, f" in bound {node.text()!r}")
    if name == CHANCE and metric.startswith("retention("):
        raise node.error(
            f"bound {node.text()!r}: retention is measured from chance on; its bound is a number"
            " or another model's",
            MALFORMED,
        )
    return name


def _float(node: Node, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise node.error(f"bound {node.text()!r}: {text!r} is no number", MALFORMED) from error


def _number(node: Node, metric: str, text: str) -> float:
    limit = _float(node, text)
    low, high = (0.0, 1.0) if metric.startswith("retention(") else RANGES[metric]
    if not (math.isfinite(limit) and low <= limit <= high):
        span = f"from {low:g} to {high:g}" if math.isfinite(high) else f"from {low:g} on"
        percent = " (80 % is written 0.8)" if high == 1 else ""
        raise node.error(f"bound {node.text()!r}: {metric} is {span}{percent}", OUT_OF_RANGE)
    return limit


def _span(metric: str) -> tuple[float, float]:
    """How far a metric of one model can lie from another's."""
    low, high = (0.0, 1.0) if metric.startswith("retention(") else RANGES[metric]
    return low - high, high - low


def _check(node: Node, what: str, value: float, span: tuple[float, float]) -> None:
    low, high = span
    if not (math.isfinite(value) and low <= value <= high):
        to = f"from {low:g} to {high:g}" if math.isfinite(high) else f"{low:g} and up"
        percent = " (1 point is written 0.01)" if high == 1 else ""
        raise node.error(
            f"bound {node.text()!r}: {what} is {value:g}; allowed is {to}{percent}", OUT_OF_RANGE
        )
