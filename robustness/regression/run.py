"""Paired comparison of a run with its baseline, with all comparisons judged as one family.

Runs in the controller under pytest-xdist, so nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from itertools import groupby
from typing import Any

from robustness.records import EstimateRecord
from robustness.records.codec import number
from robustness.records.comparison import ComparisonRecord, ComparisonsRecord
from robustness.regression import (
    Answers,
    PairedComparison,
    adjust,
    compare_answers,
    query_clusters,
    smallest_drop,
    upper_limit,
)
from robustness.regression.baseline import Key, ModelRun, Run, differences
from robustness.regression.judge import judge_regression
from robustness.thresholds import ALPHA, Regression
from robustness.verdict.reasons import Judgement, Reason, Verdict

Coordinates = tuple[str, str, str, float]
"""Model, pattern, fill and level of a comparison; both directions share them."""


def compare(run: Run, baseline: Run, settings: Regression) -> list[ComparisonRecord]:
    """Compare a run with its baseline.

    Args:
        run: The current run.
        baseline: The saved run.
        settings: Metric, margin, level and mode of the comparison.

    Returns:
        One record with a verdict per model, pattern, fill and level; a single record for a
        model that cannot be compared.
    """
    mismatches: list[ComparisonRecord] = []
    comparisons: dict[Coordinates, PairedComparison] = {}
    for model, own in run.models.items():
        differing = differences(run, baseline, model)
        if differing:
            mismatches.append(_mismatch_record(model, differing))
        else:
            comparisons |= _compare_model(model, own, baseline.models[model], settings)
    adjusted = dict(zip(comparisons, adjust(list(comparisons.values())), strict=True))
    return mismatches + [
        _record(at, comparison, settings, len(adjusted), _smallest_gallery(run.models[at[0]], at))
        for at, comparison in adjusted.items()
    ]


def _smallest_gallery(own: ModelRun, at: Coordinates) -> int:
    """Return the gallery size of the direction with fewer items."""
    return min(
        counts.gallery_size
        for key, counts in own.ranks.items()
        if (key.pattern, key.fill, key.level) == at[1:]
    )


def _compare_model(
    model: str, own: ModelRun, saved: ModelRun, settings: Regression
) -> dict[Coordinates, PairedComparison]:
    clusters = query_clusters(own.text_of_image, own.patients)
    return {
        (model, *at): compare_answers(
            _answers(saved, keys, settings), _answers(own, keys, settings), clusters
        )
        for at, keys in _group_directions(own.ranks)
    }


def _group_directions(
    ranks: Mapping[Key, Any],
) -> Iterator[tuple[tuple[str, str, float], list[Key]]]:
    """Yield pattern, fill and level in order, each with the keys of its directions."""

    def perturbation(key: Key) -> tuple[str, str, float]:
        return key.pattern, key.fill, key.level

    ordered = sorted(ranks, key=lambda key: (*perturbation(key), key.direction))
    for at, keys in groupby(ordered, perturbation):
        yield at, list(keys)


def _answers(run: ModelRun, keys: list[Key], settings: Regression) -> dict[str, Answers]:
    return {key.direction: Answers.of(run.ranks[key], settings.metric) for key in keys}


def _mismatch_record(model: str, differing: list[str]) -> ComparisonRecord:
    judgement = Judgement(
        Verdict.FAIL,
        Reason.BASELINE_MISMATCH,
        f"{model} cannot be compared with the baseline: {'; '.join(differing)}",
    )
    return ComparisonRecord(*astuple(judgement), model=model)


def _record(
    at: Coordinates, comparison: PairedComparison, settings: Regression, cases: int, gallery: int
) -> ComparisonRecord:
    model, pattern, fill, level = at
    low, high = comparison.limits()
    # The smallest detectable drop is always that of the regression test, in both modes.
    alpha = settings.family_alpha if settings.mode == "regression" else ALPHA
    judgement = judge_regression(comparison, settings, cases=cases, gallery=gallery)
    vacuous = judgement.reason is Reason.COMPARISON_VACUOUS
    smallest = smallest_drop(comparison, cases=cases, alpha=alpha, margin=settings.margin)
    return ComparisonRecord(
        *astuple(judgement),
        model=model,
        pattern=pattern,
        fill=fill,
        level=level,
        n=comparison.n,
        patients=comparison.clusters,
        drop=EstimateRecord(comparison.drop, number(low), number(high)),
        drops=comparison.drops,
        p=comparison.p,
        adjusted_p=comparison.adjusted_p,
        smallest_drop=None if vacuous else number(smallest),
        not_excluded=_not_excluded(comparison, settings, cases),
    )


def _not_excluded(comparison: PairedComparison, settings: Regression, cases: int) -> float | None:
    """Return the upper limit of the drop in non-inferiority mode, else None."""
    if settings.mode != "non_inferiority":
        return None
    return number(upper_limit(comparison, cases=cases, alpha=settings.family_alpha))


def comparison_summary(
    records: Sequence[ComparisonRecord],
    baseline: str,
    settings: Regression,
    precision: Mapping[str, str],
) -> ComparisonsRecord:
    """Return the comparison with a baseline as ``results.json`` has it.

    Args:
        records: The comparisons.
        baseline: Name of the baseline.
        settings: The settings they were judged by.
        precision: Precision of the forward passes, ``here`` and in the ``baseline``.
    """
    return ComparisonsRecord(
        baseline=baseline,
        precision=dict(precision),
        mode=settings.mode,
        metric=settings.metric,
        margin=settings.margin,
        alpha=settings.family_alpha,
        test="sign flips of patients' log ranks, both directions, Holm over the cases",
        comparisons=tuple(records),
    )
