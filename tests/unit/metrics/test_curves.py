"""Retention, area under the curve and level of half loss, including edge cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import trapezoid

from robustness.metrics import retention
from robustness.metrics.curves import area_under_curve, level_of_half_loss


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 1), st.floats(0, 1))
def test_retention_can_be_inverted(values, clean, chance):
    kept = retention(np.array(values), clean, chance)
    assert kept.shape == (len(values),)
    if clean - chance <= 1e-9:
        assert np.isnan(kept).all()
    else:
        assert chance + kept * (clean - chance) == pytest.approx(values)


def test_retention_broadcasts():
    kept = retention(np.array([[0.5, 0.3], [0.9, 0.1]]), np.array([[0.9], [0.1]]), 0.1)
    assert kept[0] == pytest.approx([0.5, 0.25])
    assert np.isnan(kept[1]).all()


def test_area_under_curve():
    assert area_under_curve([0, 0.2, 0.7], np.array([0.8, 0.8, 0.8])) == pytest.approx(0.8)
    assert area_under_curve([0, 0.5], np.array([[1.0, 0.0], [0.5, 0.5]])).tolist() == [0.5, 0.5]
    assert np.isnan(area_under_curve([0], np.array([0.5])))


@given(
    st.lists(st.integers(0, 100), min_size=2, max_size=9, unique=True).map(sorted),
    st.integers(0, 2**32 - 1),
)
def test_area_equals_scipys_divided_by_the_width(levels, seed):
    """Also if the first level is not 0."""
    levels = [level / 100 for level in levels]
    curves = np.random.default_rng(seed).random((3, 2, len(levels)))
    area = area_under_curve(levels, curves)
    assert area == pytest.approx(trapezoid(curves, levels) / (levels[-1] - levels[0]))
    assert area_under_curve(levels, curves[0, 0]) == pytest.approx(area[0, 0])


def test_the_area_over_one_level_is_nan_for_each_curve():
    area = area_under_curve([0.3], np.ones((3, 2, 1)))
    assert area.shape == (3, 2)
    assert np.isnan(area).all()


def test_level_of_half_loss():
    levels = [0, 0.1, 0.2, 0.4]
    curves = np.array(
        [
            [1.0, 0.8, 0.4, 0.0],  # falls through .5 between .1 and .2
            [1.0, 0.9, 0.8, 0.7],  # never
            [0.8, 0.4, 0.1, 0.0],  # at .1 exactly
            [0.0, 0.0, 0.0, 0.0],  # nothing to lose
            [1.0, 0.4, 0.9, 0.4],  # the first crossing counts
        ]
    )
    found = level_of_half_loss(levels, curves)
    assert found[0] == pytest.approx(0.175)
    assert found[1] == np.inf
    assert found[2] == pytest.approx(0.1)
    assert np.isnan(found[3])
    assert found[4] == pytest.approx(0.1 * 0.5 / 0.6)


def half_loss_by_steps(levels, curve):
    """Return the first of 100,000 small steps, and the levels, at which half is lost."""
    at = np.union1d(np.linspace(0, levels[-1], 100_001), levels)
    lost = np.interp(at, levels, curve) <= curve[0] / 2 + 1e-12
    return at[np.argmax(lost)] if lost.any() else np.inf


@given(st.lists(st.integers(1, 100), min_size=1, max_size=5, unique=True).map(sorted), st.data())
def test_half_loss_equals_a_fine_search(levels, data):
    levels = [0, *(level / 100 for level in levels)]
    tenths = st.lists(st.integers(0, 10), min_size=len(levels) - 1, max_size=len(levels) - 1)
    curve = [data.draw(st.integers(1, 10)) / 10, *(v / 10 for v in data.draw(tenths))]
    (found,) = level_of_half_loss(levels, np.array(curve))
    assert found == pytest.approx(half_loss_by_steps(levels, curve), abs=2e-5)


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([1.0, 0.9, 0.5], 0.4),  # half at the last level is half
        ([1.0, 1.0, 1.0], np.inf),  # nothing is lost, and no division by zero
        ([1.0, 0.0, 0.0], 0.1),
        ([0.0, 0.5, 0.5], np.nan),  # nothing to lose
        ([0.0, 0.0, 0.0], np.nan),
    ],
)
def test_half_loss_at_the_edges(curve, expected):
    (found,) = level_of_half_loss([0, 0.2, 0.4], np.array(curve))
    assert found == pytest.approx(expected, nan_ok=True)


def test_half_loss_of_one_level_is_nan():
    assert np.isnan(level_of_half_loss([0.0], [0.8])).all()


def test_half_loss_allows_for_rounding():
    """One third to six decimals, and half of it."""
    assert level_of_half_loss([0, 0.4, 0.8], [0.333333, 0.166667, 0.1]) == pytest.approx(0.4)
    assert level_of_half_loss([0, 0.4], [0.333333, 0.16667]) == np.inf
