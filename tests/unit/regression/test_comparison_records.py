"""Comparison records in results.json: every value against its source."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support.baselines import DIRECTIONS
from support.regressions import N, a_run

from robustness.records import EstimateRecord
from robustness.records.comparison import ComparisonRecord
from robustness.regression import (
    Answers,
    adjust,
    compare_answers,
    query_clusters,
    smallest_drop,
    upper_limit,
)
from robustness.regression.baseline import Key
from robustness.regression.run import compare, comparison_summary
from robustness.thresholds import ALPHA, Regression
from robustness.verdict.reasons import Reason, Verdict


def by_hand(now, then, settings, levels=(0.0, 0.3)):
    """Return the adjusted comparisons of the pattern, in order of level."""
    mine, theirs = now.models["phantom"], then.models["phantom"]
    clusters = query_clusters(mine.text_of_image, mine.patients)
    return adjust(
        [
            compare_answers(
                *(
                    {
                        d: Answers.of(run.ranks[Key("square", "black", level, d)], settings.metric)
                        for d in DIRECTIONS
                    }
                    for run in (theirs, mine)
                ),
                clusters,
            )
            for level in levels
        ]
    )


@pytest.mark.parametrize(
    "settings",
    [
        Regression(),
        Regression(margin=0.03, alpha=0.01),
        Regression(mode="non_inferiority", margin=0.02),
        Regression(mode="non_inferiority", alpha=0.2),
        Regression(metric="hit@5"),
    ],
)
def test_a_record_contains_the_comparison(settings):
    now, then = a_run(0.03, seed=2), a_run(seed=3)
    records = compare(now, then, settings)
    assert len(records) == 2
    for record, found in zip(records, by_hand(now, then, settings), strict=True):
        assert (record.model, record.pattern, record.fill) == (
            "phantom",
            "square",
            "black",
        )
        assert (record.n, record.patients) == (dict.fromkeys(DIRECTIONS, N), N)
        low, high = found.limits()
        assert record.drop == EstimateRecord(found.drop, low, high)
        assert record.drops == found.drops
        assert (record.p, record.adjusted_p) == (found.p, found.adjusted_p)
        alpha = settings.family_alpha if settings.mode == "regression" else ALPHA
        assert record.smallest_drop == smallest_drop(
            found, cases=2, alpha=alpha, margin=settings.margin
        )
        strict = settings.mode == "non_inferiority"
        upper = upper_limit(found, cases=2, alpha=settings.family_alpha) if strict else None
        assert record.not_excluded == upper
    assert [record.level for record in records] == [0.0, 0.3]
    for record in records:
        data = json.loads(json.dumps(record.to_json()))
        assert ComparisonRecord.from_json(data) == record


def test_an_undetectable_drop_is_null():
    """Six queries cannot detect any drop, and JSON has no infinity."""
    (record, _) = compare(a_run(n=6), a_run(n=6), Regression())
    assert record.smallest_drop is None


def test_all_differences_are_reported():
    now, then = a_run(), a_run()
    own = replace(now.models["phantom"], measured_on={"set": "t"})
    now = replace(now, protocol={"positives": "same_study"}, models={"phantom": own})
    (record,) = compare(now, then, Regression())
    assert record.message == (
        "phantom cannot be compared with the baseline: positives is same_study here and"
        " identical_text in the baseline; set is t here and s in the baseline"
    )
    assert record.model == "phantom"


def test_a_run_without_models_has_no_comparison():
    then = a_run()
    assert compare(replace(then, models={}), then, Regression()) == []


def test_two_models_are_one_family():
    both = [
        replace(run, models=dict.fromkeys(("phantom", "other"), run.models["phantom"]))
        for run in (a_run(0.06, seed=2), a_run(seed=3))
    ]
    records = compare(*both, Regression())
    assert [(r.model, r.level) for r in records] == [
        (model, level) for model in ("phantom", "other") for level in (0.0, 0.3)
    ]
    assert all("Holm over 4 comparisons" in record.message for record in records)


def test_patterns_fills_and_levels_are_separate_comparisons():
    def spread(run):
        own = run.models["phantom"]
        ranks = {
            replace(key, pattern=pattern, fill=fill): own.ranks[key]
            for pattern in ("square", "grid")
            for fill in ("grey", "black")
            for key in own.ranks
        }
        return replace(run, models={"phantom": replace(own, ranks=ranks)})

    records = compare(spread(a_run(0.06, seed=2)), spread(a_run(seed=3)), Regression())
    assert [(r.pattern, r.fill, r.level) for r in records] == [
        (pattern, fill, level)
        for pattern in ("grid", "square")
        for fill in ("black", "grey")
        for level in (0.0, 0.3)
    ]
    assert all(record.drops.keys() == set(DIRECTIONS) for record in records)
    assert "Holm over 8 comparisons" in records[0].message


def test_the_summary_describes_the_comparison():
    settings = Regression(mode="non_inferiority", metric="hit@5", margin=0.03)
    precision = {"here": "bfloat16", "baseline": "float32"}
    refused = ComparisonRecord(model="x", verdict=Verdict.FAIL, reason=Reason.CRASHED, message="y")
    summary = comparison_summary([refused], "0001_main", settings, precision)
    wanted = {
        "baseline": "0001_main",
        "precision": precision,
        "mode": "non_inferiority",
        "metric": "hit@5",
        "margin": 0.03,
        "alpha": 0.05,
        "comparisons": [refused.to_json()],
    }
    data = summary.to_json()
    assert {name: data[name] for name in wanted} == wanted
    assert "sign flips" in summary.test
    assert "Holm" in summary.test
