"""The results as one page that needs nothing beside it: no script, no font, no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from robustness._util.text import counted, points
from robustness.metrics import PRIMARY_METRIC
from robustness.report import _chart, _forest, _time
from robustness.report._comparison import (
    followup_lines,
    other_precision,
    place,
    worst_first,
)
from robustness.report._words import half_lost, misnamed

WORST_FIRST = ("fail", "not_measured", "pass")

Item = Mapping[str, Any]
"""A cell, a property or a comparison of ``results.json``."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Items that did not pass for one reason.

    Attributes:
        verdict: Of all of them.
        reason: Of all of them.
        count: How many.
        where: The first of them.
        message: What it says.
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
        name: The model's.
        verdict: The worst of its cells, properties and comparisons.
        counts: How many of them have a verdict.
        cells: Its cells, what failed first.
        charts: Its curves.
        curves: What each curve's levels say together, by pattern and direction.
    """

    name: str
    verdict: str
    counts: Mapping[str, int]
    cells: Sequence[Item]
    charts: Sequence[_chart.Chart]
    curves: Mapping[tuple[str, str], Sequence[Item]]


def html(results: dict[str, Any]) -> str:
    """The page.

    Args:
        results: The content of ``results.json``; everything shown is read from there.
    """
    return _template().render(
        results=results,
        causes=_causes(results),
        models=_models(results),
        forest=_forest.forest(results["comparison"]),
        other_precision=other_precision,
        row=_forest,
        time=_time,
        left_behind=followup_lines(results["followup"], results["verdict"], most=None),
        properties=_worst_first(results["properties"]),
        excluded=_excluded(results["protocol"]),
        misnamed=misnamed(results["protocol"]),
        size=_chart,
        headline=PRIMARY_METRIC,
        retention=_chart.RETENTION,
    )


@cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("robustness.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "fraction": _fraction,
        "span": _span,
        "percent": _percent,
        "words": _words,
        "bound": _bound,
        "points": points,
        "counted": counted,
        "tenths": _tenths,
        "falls": _falls,
        "number": _time.number,
        "half_lost": half_lost,
    }
    return environment.get_template("report.html.jinja")


def _models(results: Mapping[str, Any]) -> list[Model]:
    cells, properties, compared = results["measurements"], results["properties"], _compared(results)
    names = dict.fromkeys(item["model"] for item in (*cells, *properties))
    return [
        _model(
            name,
            [cell for cell in cells if cell["model"] == name],
            [item for item in (*properties, *compared) if item.get("model") == name],
            [curve for curve in results["curves"] if curve["model"] == name],
        )
        for name in names
    ]


def _model(
    name: str, cells: Sequence[Item], others: Sequence[Item], curves: Iterable[Item]
) -> Model:
    counts = Counter(item["verdict"] for item in (*cells, *others))
    panels: dict[tuple[str, str], list[Item]] = {}
    for curve in curves:
        panels.setdefault((curve["pattern"], curve["direction"]), []).append(curve)
    return Model(
        name=name,
        verdict=next(verdict for verdict in WORST_FIRST if counts[verdict]),
        counts={verdict: counts[verdict] for verdict in reversed(WORST_FIRST)},
        cells=_worst_first(cells),
        charts=_chart.charts(cells),
        curves=panels,
    )


def _compared(results: Mapping[str, Any]) -> Sequence[Item]:
    comparison: Mapping[str, Any] = results["comparison"] or {}
    cases: Sequence[Item] = comparison.get("comparisons", ())
    return cases


def _worst_first(items: Sequence[Item]) -> list[Item]:
    return sorted(items, key=lambda item: WORST_FIRST.index(item["verdict"]))


def _causes(results: Mapping[str, Any]) -> list[Cause]:
    """Why items did not pass: one a verdict and reason, what failed first, then by number."""
    groups: dict[tuple[str, str], list[Item]] = {}
    for item in (
        *results["measurements"],
        *results["properties"],
        *worst_first(_compared(results)),
    ):
        if item["verdict"] != "pass":
            groups.setdefault((item["verdict"], item["reason"]), []).append(item)
    causes = [
        Cause(verdict, reason, len(items), _where(items[0]), items[0]["message"])
        for (verdict, reason), items in groups.items()
    ]
    return sorted(causes, key=lambda cause: (WORST_FIRST.index(cause.verdict), -cause.count))


def _where(item: Item) -> str:
    if "property" in item:
        return f"{item['model']}, property {item['property']}"
    if "direction" not in item:
        return f"{place(item)}, beside the baseline"
    return (
        f"{item['model']}, {item['pattern']} at {_percent(item['level'])}, {item['fill']},"
        f" {_words(item['direction'])}"
    )


def _excluded(protocol: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """What was left out: of the set for all models, and of what one model alone cannot take."""
    ofset = protocol["evalset"].get("excluded", {})
    rows = [("every model", reason, count) for reason, count in ofset.items()]
    for model in protocol["models"]:
        rows += [
            (model["name"], reason, count - ofset.get(reason, 0))
            for reason, count in model["excluded"].items()
            if count > ofset.get(reason, 0)
        ]
    return rows


def _fraction(estimate: Mapping[str, Any] | None) -> str:
    if not estimate or estimate["value"] is None:
        return "-"
    return f"{estimate['value']:.3f}"


def _span(estimate: Mapping[str, Any] | None) -> str:
    if not estimate or estimate["low"] is None or estimate["high"] is None:
        return ""
    return f"{estimate['low']:.3f} to {estimate['high']:.3f}"


def _falls(drop: Mapping[str, Any]) -> str:
    if drop["low"] is None or drop["high"] is None:
        return ""
    return f"{_tenths(drop['low'])} to {_tenths(drop['high'])}"


def _tenths(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _bound(bound: Mapping[str, Any]) -> str:
    limit = "?" if bound["limit"] is None else f"{bound['limit']:g}"
    sign = bound["operator"].replace(">=", "≥").replace("<=", "≤")
    return f"{bound['metric']} {sign} {limit}"
