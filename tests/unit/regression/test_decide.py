"""Decisions: regression, non-inferiority, the smallest detectable drop."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from robustness.regression import (
    Answers,
    adjust,
    compare_answers,
    holm,
    non_inferior,
    regressed,
    smallest_drop,
)
from robustness.thresholds import ALPHA, MARGIN

WAY = "image_to_report"


def comparison(baseline, candidate):
    """Compare log ranks in one direction; every query is its own cluster."""
    both = [
        Answers(np.asarray(x), (x <= math.log(10.5)).astype(float)) for x in (baseline, candidate)
    ]
    return compare_answers({WAY: both[0]}, {WAY: both[1]}, {WAY: np.arange(len(baseline))})


FOUND = replace(comparison(np.zeros(500), np.zeros(500)), drop=0.02, standard_error=0.004)


@pytest.mark.parametrize(
    ("p", "drop", "fails"),
    [
        (ALPHA, MARGIN + 1e-9, True),
        (ALPHA, MARGIN, False),  # a drop of the margin is allowed
        (ALPHA + 1e-9, 0.5, False),  # a large drop that is not significant
        (0.0, 0.009, False),  # a significant change within the margin
        (0.0, -0.5, False),
    ],
)
def test_a_regression_is_significant_and_beyond_the_margin(p, drop, fails):
    assert regressed(replace(FOUND, adjusted_p=p, drop=drop)) is fails


def test_level_and_margin_are_parameters():
    found = replace(FOUND, adjusted_p=0.02, drop=0.02)
    assert regressed(found, alpha=0.05)
    assert not regressed(found, alpha=0.05, margin=0.02)
    assert regressed(replace(found, drop=1e-9), alpha=0.05, margin=0)


def test_adjusting_is_holm_over_the_cases_of_a_run():
    p = [0.01, 0.5, 0.0001, 0.01]
    adjusted = adjust([replace(FOUND, p=each) for each in p])
    assert [found.adjusted_p for found in adjusted] == holm(p).tolist()
    assert [found.p for found in adjusted] == p


def test_an_unadjusted_p_value_is_rejected():
    with pytest.raises(ValueError, match="not adjusted"):
        regressed(FOUND)


def test_non_inferior_if_the_upper_limit_of_all_cases_is_below_the_margin():
    found = replace(FOUND, drop=0.0, standard_error=0.002, sum_squared_weights=1e-4)
    # One-sided at .05 / 32: z is 2.955.
    high = found.limits(1 - 0.1 / 32)[1]
    assert high == pytest.approx(0.0064, abs=2e-4)
    assert non_inferior(found, cases=32, margin=high + 1e-9)
    assert not non_inferior(found, cases=32, margin=high)
    assert non_inferior(found, cases=1, margin=high)
    assert not non_inferior(replace(found, drop=0.009), cases=1)


@pytest.mark.parametrize(("n", "passes"), [(100, False), (800, False), (1000, True)])
def test_too_few_queries_do_not_exclude_the_margin(n, passes):
    """No query changed. If the true drop were 1 point, n = 800 would show no change in .0003
    of the runs; .05 / 32 is allowed, so there is slack, but not enough for n = 600."""
    found = comparison(np.zeros(n), np.zeros(n))
    assert non_inferior(found, cases=32) is passes
    if passes:
        assert (1 - MARGIN) ** n < 0.05 / 32


def test_a_drop_of_the_margin_passes_with_probability_alpha_at_most():
    """At a true drop of the margin, at most alpha pass (rare losses and balanced changes)."""
    rng = np.random.default_rng(0)
    for lost, gained in ((0.01, 0.0), (0.03, 0.02), (0.11, 0.10)):
        samples = rng.multinomial(2000, [lost, gained, 1 - lost - gained], 40_000)
        k, g = samples[:, 0] / 2000, samples[:, 1] / 2000
        errors = np.sqrt((k + g - (k - g) ** 2) / 1999)
        found = replace(FOUND, sum_squared_weights=1 / 2000)
        passed = np.mean(
            [
                non_inferior(replace(found, drop=d, standard_error=e), cases=1)
                for d, e in zip(k - g, errors, strict=True)
            ]
        )
        assert passed <= 0.05


@pytest.mark.parametrize(("n", "noise"), [(500, 0.3), (1000, 0.05), (1000, 0.6), (1500, 0.3)])
def test_the_smallest_drop_is_detected_with_about_the_given_power(n, noise):
    """Two models with equal log rank noise; a fraction of the candidate's log ranks rises.

    The power is .8; .7 to .92 is accepted: normal approximation, the bound on the joint
    probability, and 150 runs (standard error .033).
    """
    rng = np.random.default_rng(n)
    cutoff = math.log(10.5)

    def pair(share, rise, n=n):
        truth, scatter = rng.exponential(1.5, n), rng.normal(0, noise, (2, n))
        risen = rise * (rng.random(n) < share)
        return np.maximum(truth + scatter[0], 0), np.maximum(truth + scatter[1] + risen, 0)

    alike = comparison(*pair(0, 0))
    drop = smallest_drop(alike, cases=32)
    share = 2 * drop / alike.baseline_hit
    before, after = (ranks <= cutoff for ranks in pair(share, alike.half_loss_rise, 10**6))
    assert before.mean() - after.mean() == pytest.approx(drop, rel=0.1)
    detected = 0
    for _ in range(150):
        found = comparison(*pair(share, alike.half_loss_rise))
        detected += found.p <= ALPHA / 32 and found.drop > MARGIN
    assert 0.7 <= detected / 150 <= 0.92


def test_the_smallest_drop_shrinks_with_n_and_grows_with_strictness():
    rng = np.random.default_rng(1)
    few, many = (
        comparison(x, np.abs(x + rng.normal(0, 0.3, len(x))))
        for x in (rng.exponential(1.5, 500), rng.exponential(1.5, 5000))
    )
    drop = smallest_drop(few, cases=32)
    assert MARGIN < smallest_drop(many, cases=32) < drop < 0.2
    assert smallest_drop(few, cases=320) > drop > smallest_drop(few, cases=1)
    assert smallest_drop(few, cases=32, power=0.95) > drop
    assert smallest_drop(few, cases=32, alpha=0.05) < drop
    assert smallest_drop(few, cases=32, margin=0) < drop


def test_the_smallest_drop_of_identical_models_exceeds_the_margin():
    """An unchanged run does not imply high power: 22 patients must get worse."""
    found = comparison(np.zeros(200), np.zeros(200))
    assert smallest_drop(found, cases=32) > 11 / 200
    assert smallest_drop(comparison(np.zeros(20), np.zeros(20)), cases=32) == math.inf
    assert smallest_drop(comparison(np.zeros(1), np.zeros(1)), cases=32) == math.inf
    assert smallest_drop(comparison(np.full(500, 5), np.full(500, 5)), cases=32) == math.inf


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"alpha": 0.5}, "alpha is 0.5"),
        ({"alpha": 1.0}, "alpha is 1.0"),
        ({"alpha": math.nan}, "alpha is nan"),
        ({"margin": -0.01}, "margin is -0.01"),
        ({"margin": 1.0}, "margin is 1.0; it must be a fraction"),
        ({"margin": math.nan}, "margin is nan"),
    ],
)
def test_settings_out_of_range_are_rejected(setting, message):
    for decide in (regressed, non_inferior, smallest_drop):
        cases = {} if decide is regressed else {"cases": 32}
        with pytest.raises(ValueError, match=message):
            decide(replace(FOUND, adjusted_p=0.5), **cases, **setting)


def test_zero_cases_and_invalid_power_are_rejected():
    for decide in (non_inferior, smallest_drop):
        with pytest.raises(ValueError, match="0 cases"):
            decide(FOUND, cases=0)
    with pytest.raises(ValueError, match="power is 1"):
        smallest_drop(FOUND, cases=1, power=1)
