"""The results as one self-contained page: no script, no font, no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from robustness._util.text import counted, points
from robustness.metrics import PRIMARY_METRIC
from robustness.report import _chart, _comparison, _forest, _time
from robustness.report._common import (
    VERDICTS,
    Item,
    excluded,
    fraction,
    half_loss,
    misnamed,
    percent,
    words,
    worst_first,
)

if TYPE_CHECKING:
    import jinja2


@dataclass(frozen=True, slots=True)
class Cause:
    """The items with one verdict and reason.

    Attributes:
        where: Coordinates of the first.
        message: Message of the first.
    """

    verdict: str
    reason: str
    count: int
    where: str
    message: str


@dataclass(frozen=True, slots=True)
class Model:
    """One model's part of the page.

    Attributes:
        verdict: The worst verdict of its measurements, properties and comparisons.
        counts: Their number by verdict.
        measurements: Its measurements, the worst first.
        charts: Its curves.
        curves: The summaries of its curves, by pattern and direction.
    """

    name: str
    verdict: str
    counts: Mapping[str, int]
    measurements: Sequence[Item]
    charts: Sequence[_chart.Chart]
    curves: Mapping[tuple[str, str], Sequence[Item]]


def html(results: dict[str, Any]) -> str:
    """Return the page.

    Args:
        results: The content of ``results.json``.
    """
    compared = (results["comparison"] or {}).get("comparisons", ())
    items = [*results["measurements"], *results["properties"], *compared]
    return _template().render(
        results=results,
        causes=_causes(items),
        models=[
            _model(name, items, results["curves"])
            for name in dict.fromkeys(
                item["model"] for item in (*results["measurements"], *results["properties"])
            )
        ],
        forest=_forest.forest(results["comparison"]),
        comparison=_comparison,
        row=_forest,
        time=_time,
        followup=_comparison.followup_lines(results["followup"], results["verdict"], most=None),
        properties=worst_first(results["properties"]),
        excluded=excluded(results["protocol"]),
        misnamed=misnamed(results["protocol"]),
        size=_chart,
        headline=PRIMARY_METRIC,
        retention=_chart.RETENTION,
    )


@cache
def _template() -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("robustness.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "fraction": lambda estimate: fraction(estimate and estimate["value"]),
        "interval": lambda estimate: _interval(estimate, fraction),
        "percent": percent,
        "words": words,
        "bound": _bound,
        "points": points,
        "counted": counted,
        "tenths": _tenths,
        "drops": lambda drop: _interval(drop, _tenths),
        "number": _time.number,
        "half_loss": half_loss,
    }
    return environment.get_template("report.html.jinja")


def _model(name: str, items: Sequence[Item], curves: Sequence[Item]) -> Model:
    items = [item for item in items if item["model"] == name]
    measurements = [item for item in items if "direction" in item]
    counts = Counter(item["verdict"] for item in items)
    panels: dict[tuple[str, str], list[Item]] = {}
    for curve in curves:
        if curve["model"] == name:
            panels.setdefault((curve["pattern"], curve["direction"]), []).append(curve)
    return Model(
        name=name,
        verdict=next(verdict for verdict in VERDICTS if counts[verdict]),
        counts=counts,
        measurements=worst_first(measurements),
        charts=_chart.charts(measurements),
        curves=panels,
    )


def _causes(items: Sequence[Item]) -> list[Cause]:
    """Return the causes of all items that did not pass: the worst first, then by number."""
    groups: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        if item["verdict"] != "pass":
            groups.setdefault((item["verdict"], item["reason"]), []).append(item)
    causes = []
    for (verdict, reason), group in groups.items():
        first = worst_first(group)[0]
        causes.append(Cause(verdict, reason, len(group), _where(first), first["message"]))
    return sorted(causes, key=lambda cause: (VERDICTS.index(cause.verdict), -cause.count))


def _where(item: Item) -> str:
    if "property" in item:
        return f"{item['model']}, property {item['property']}"
    if "direction" not in item:
        return f"{_comparison.place(item)}, compared with the baseline"
    return (
        f"{item['model']}, {item['pattern']} at {percent(item['level'])}, {item['fill']},"
        f" {words(item['direction'])}"
    )


def _interval(estimate: Item | None, form: Any) -> str:
    if not estimate or estimate["low"] is None or estimate["high"] is None:
        return ""
    return f"{form(estimate['low'])} to {form(estimate['high'])}"


def _tenths(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _bound(bound: Item) -> str:
    limit = "?" if bound["limit"] is None else f"{bound['limit']:g}"
    sign = bound["operator"].replace(">=", "≥").replace("<=", "≤")
    return f"{bound['metric']} {sign} {limit}"
