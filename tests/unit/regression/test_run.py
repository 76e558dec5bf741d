"""Comparison of a run with its baseline: failures, passes and mismatches."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.baselines import DIRECTIONS
from support.regressions import N, a_run

from robustness.regression.baseline import Key
from robustness.regression.run import compare
from robustness.thresholds import Regression


def test_the_same_ranks_pass():
    records = compare(a_run(), a_run(), Regression())
    assert len(records) == 2
    for record in records:
        assert (record.verdict, record.reason) == ("pass", "ok")
        assert record.drop.value == 0
        assert record.p == record.adjusted_p == 1
        assert 0 < record.smallest_drop < 0.05


def test_harmless_changes_pass():
    records = compare(a_run(seed=2), a_run(seed=3), Regression())
    assert {record.verdict for record in records} == {"pass"}
    assert any(record.drop.value != 0 for record in records)


def test_a_drop_fails_with_a_message_that_reports_it():
    records = compare(a_run(0.06, seed=2), a_run(seed=3), Regression())
    for record in records:
        assert (record.verdict, record.reason) == ("fail", "regression")
        low, drop, high = (getattr(record.drop, part) for part in ("low", "value", "high"))
        assert 0 < low < drop < high < 0.12
        assert record.message.startswith(f"hit@10 fell by {100 * drop:.1f} points [")
        assert "tolerated: 1 point; p = " in record.message
        assert "Holm over 2 comparisons), level 1e-05" in record.message
        assert record.drops.keys() == set(DIRECTIONS)
        assert record.n == dict.fromkeys(DIRECTIONS, N)
        assert record.patients == N


def test_a_drop_within_the_margin_passes():
    settings = Regression(margin=0.2)
    records = compare(a_run(0.06, seed=2), a_run(seed=3), settings)
    assert {record.verdict for record in records} == {"pass"}
    assert all(record.adjusted_p < 1e-6 for record in records)


def test_a_rise_passes():
    records = compare(a_run(seed=2), a_run(0.06, seed=3), Regression())
    assert {record.verdict for record in records} == {"pass"}
    assert all(record.drop.high < 0 for record in records)


def test_non_inferiority_requires_evidence():
    strict = Regression(mode="non_inferiority")
    few = compare(a_run(seed=2, n=100), a_run(seed=3, n=100), strict)
    assert {record.reason for record in few} == {"inferiority_not_excluded"}
    assert "is not excluded; tolerated: 1 point" in few[0].message
    assert {
        r.verdict for r in compare(a_run(seed=2, n=100), a_run(seed=3, n=100), Regression())
    } == {"pass"}, "what few queries cannot show is no regression either"
    wide = replace(strict, margin=0.05)
    assert {r.verdict for r in compare(a_run(seed=2), a_run(seed=3), wide)} == {"pass"}


def test_another_cutoff():
    records = compare(a_run(0.06, seed=2), a_run(seed=3), Regression(metric="hit@100"))
    assert {record.drop.value for record in records} == {0.0}
    assert {record.verdict for record in records} == {"pass"}
    (record, *_) = compare(a_run(0.06, seed=2), a_run(seed=3), Regression(metric="hit@5"))
    assert record.message.startswith("hit@5 fell by")


def test_the_drop_is_that_of_the_metric():
    from robustness.metrics import hit_at

    now, then = a_run(0.06, seed=2), a_run(seed=3)
    for record in compare(now, then, Regression()):
        for direction, drop in record.drops.items():
            key = Key("square", "black", record.level, direction)
            before = hit_at(then.models["phantom"].ranks[key], 10)
            after = hit_at(now.models["phantom"].ranks[key], 10)
            assert drop == pytest.approx(before - after, abs=1e-12)


def test_different_queries_are_a_mismatch():
    now = a_run()
    own = replace(now.models["phantom"], measured_on={"set": "t"})
    (record,) = compare(replace(now, models={"phantom": own}), a_run(), Regression())
    assert (record.verdict, record.reason) == ("fail", "baseline_mismatch")
    assert record.message == (
        "phantom cannot be compared with the baseline: set is t here and s in the baseline"
    )


def test_a_mismatch_of_one_model_does_not_affect_another():
    then, own = a_run(), a_run(seed=2).models["phantom"]
    now = replace(then, models={"phantom": own, "other": own})
    records = compare(now, then, Regression())
    assert [r.reason for r in records if r.model == "other"] == ["baseline_mismatch"]
    assert {r.verdict for r in records if r.model == "phantom"} == {"pass"}


def test_more_comparisons_require_a_smaller_p():
    few = compare(a_run(0.06, seed=2), a_run(seed=3), Regression())
    many = compare(
        a_run(0.06, seed=2, levels=(0.0, 0.1, 0.2, 0.3)),
        a_run(seed=3, levels=(0.0, 0.1, 0.2, 0.3)),
        Regression(),
    )
    assert max(r.adjusted_p / r.p for r in few) == pytest.approx(2)
    assert max(r.adjusted_p / r.p for r in many) == pytest.approx(4)


@pytest.mark.parametrize(("n", "decided"), [(17, False), (18, True)])
def test_too_few_patients_to_fail_anything_fail(n, decided):
    """The smallest p-value of n sign flips is 2^-n; two comparisons at level 1e-5 need 2^-18."""
    records = compare(a_run(n=n), a_run(n=n), Regression())
    assert {record.reason == "comparison_vacuous" for record in records} == {not decided}
    if not decided:
        assert {record.verdict for record in records} == {"fail"}
        assert "17 patients (those with a common report text count as" in records[0].message
        assert records[0].message.endswith("; 18 are needed")
        assert records[0].smallest_drop is None


def test_few_patients_are_not_vacuous_in_non_inferiority_mode():
    settings = Regression(mode="non_inferiority")
    records = compare(a_run(n=17), a_run(n=17), settings)
    assert {record.reason for record in records} == {"inferiority_not_excluded"}


@pytest.mark.parametrize("mode", ["regression", "non_inferiority"])
@pytest.mark.parametrize(("cutoff", "vacuous"), [(100, True), (50, True), (10, False)])
def test_a_cutoff_of_the_gallery_size_or_more_is_vacuous(mode, cutoff, vacuous):
    settings = Regression(mode=mode, metric=f"hit@{cutoff}", margin=0.5)
    records = compare(a_run(n=50), a_run(n=50), settings)
    assert {record.reason == "comparison_vacuous" for record in records} == {vacuous}
    if vacuous:
        assert records[0].message == (
            f"hit@{cutoff} is 1 for every model with a gallery of 50; compare a metric with a"
            " smaller cutoff, or use a larger set"
        )
