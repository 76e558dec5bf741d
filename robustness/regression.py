"""A run beside its baseline: every case compared in pairs, all of them judged as one family.

Under pytest-xdist this is the controller's work, so nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from robustness.baseline import Key, ModelRun, Run, differences
from robustness.paired import (
    Answers,
    PairedComparison,
    adjust,
    compare_answers,
    query_clusters,
    smallest_drop,
    upper_limit,
)
from robustness.reasons import Judgement, Reason, Verdict
from robustness.results import Record, judgement_record, number
from robustness.thresholds import ALPHA, Regression
from robustness.verdict import judge_regression

Place = tuple[str, str, str, float]
"""Model, pattern, fill and level: what both directions of a case share."""


def compare(run: Run, baseline: Run, settings: Regression) -> list[Record]:
    """Holds a run against its baseline.

    Args:
        run: What was measured now.
        baseline: What was measured then.
        settings: How they are compared.

    Returns:
        One record a model, pattern, fill and level, each with a verdict; one alone for a
        model that cannot be compared.
    """
    refused: list[Record] = []
    found: dict[Place, PairedComparison] = {}
    for model, own in run.models.items():
        differing = differences(run, baseline, model)
        if differing:
            refused.append(_refused(model, differing))
        else:
            found |= _cases(model, own, baseline.models[model], settings)
    adjusted = dict(zip(found, adjust(list(found.values())), strict=True)) if found else {}
    return refused + [
        _record(place, comparison, settings, len(adjusted), _gallery(run.models[place[0]], place))
        for place, comparison in adjusted.items()
    ]


def _gallery(own: ModelRun, place: Place) -> int:
    """How many items the smaller direction ranks."""
    return min(
        counts.gallery_size
        for key, counts in own.ranks.items()
        if (key.pattern, key.fill, key.level) == place[1:]
    )


def _cases(
    model: str, own: ModelRun, then: ModelRun, settings: Regression
) -> dict[Place, PairedComparison]:
    clusters = query_clusters(own.text_of_image, own.patients)
    return {
        (model, *place): compare_answers(
            _answers(then, keys, settings), _answers(own, keys, settings), clusters
        )
        for place, keys in _by_place(own.ranks)
    }


def _by_place(ranks: Mapping[Key, Any]) -> Iterator[tuple[tuple[str, str, float], list[Key]]]:
    def place(key: Key) -> tuple[str, str, float]:
        return key.pattern, key.fill, key.level

    for found, keys in groupby(sorted(ranks, key=lambda key: (*place(key), key.direction)), place):
        yield found, list(keys)


def _answers(run: ModelRun, keys: list[Key], settings: Regression) -> dict[str, Answers]:
    return {key.direction: Answers.of(run.ranks[key], settings.metric) for key in keys}


def _refused(model: str, differing: list[str]) -> Record:
    judgement = Judgement(
        Verdict.FAIL,
        Reason.BASELINE_MISMATCH,
        f"{model} cannot be compared with the baseline: {'; '.join(differing)}",
    )
    return {"model": model, **judgement_record(judgement)}


def _record(
    place: Place, found: PairedComparison, settings: Regression, cases: int, gallery: int
) -> Record:
    model, pattern, fill, level = place
    low, high = found.limits()
    # What is seen is a regression, at the level of one, whatever is asked for.
    alpha = settings.family_alpha if settings.mode == "regression" else ALPHA
    judgement = judge_regression(found, settings, cases=cases, gallery=gallery)
    vacuous = judgement.reason is Reason.COMPARISON_VACUOUS
    smallest = smallest_drop(found, cases=cases, alpha=alpha, margin=settings.margin)
    return {
        "model": model,
        "pattern": pattern,
        "fill": fill,
        "level": level,
        "n": found.n,
        "patients": found.clusters,
        "drop": {"value": found.drop, "low": number(low), "high": number(high)},
        "drops": found.drops,
        "p": found.p,
        "adjusted_p": found.adjusted_p,
        "smallest_drop": None if vacuous else number(smallest),
        "not_excluded": _not_excluded(found, settings, cases),
        **judgement_record(judgement),
    }


def _not_excluded(found: PairedComparison, settings: Regression, cases: int) -> float | None:
    """The drop up to which none is excluded, where one must be."""
    if settings.mode != "non_inferiority":
        return None
    return number(upper_limit(found, cases=cases, alpha=settings.family_alpha))


def comparison_summary(
    records: list[Record], baseline: str, settings: Regression, precision: Mapping[str, str]
) -> Record:
    """What ``results.json`` says of a comparison, beside its cases."""
    return {
        "baseline": baseline,
        "precision": dict(precision),
        "mode": settings.mode,
        "metric": settings.metric,
        "margin": settings.margin,
        "alpha": settings.family_alpha,
        "test": "sign flips of patients' log ranks, both directions, Holm over the cases",
        "cases": records,
    }
