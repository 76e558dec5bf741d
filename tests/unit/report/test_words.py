"""Descriptions of curves, on the page and in the terminal."""

from __future__ import annotations

import pytest
from support.report_results import CHANCE, cell, results

from robustness.report import html, summary

CURVE = {
    "model": "phantom",
    "pattern": "square",
    "fill": "black",
    "direction": "image_to_report",
    "metric": "hit@10",
    "area_under_curve": {"value": 0.7, "low": 0.65, "high": 0.75},
}
LOST = {"value": 0.541, "low": 0.52, "high": None}
KEPT = {"value": None, "low": None, "high": None}


def described(clean, half, **changes):
    """Return the description of a curve with a clean value; page and terminal agree."""
    found = results([cell(0.0, clean), cell(0.3, 0.01)])
    found["curves"] = [{**CURVE, "level_of_half_loss": half, **changes}]
    (line,) = [line for line in summary(found, 100) if "mean over levels" in line]
    words = line.partition("; ")[2]
    assert words in " ".join(html(found).split())
    return words


def test_the_level_of_half_loss():
    assert described(0.9, LOST) == "half of it is lost at level 0.54 [0.52, -]"


def test_a_curve_that_keeps_more_than_half():
    assert described(0.9, KEPT) == "less than half of it is lost at every measured level"


@pytest.mark.parametrize("half", [LOST, KEPT])
@pytest.mark.parametrize("above", [-0.01, 0, 0.02, 0.0299])
def test_a_curve_at_chance(above, half):
    """The interval is the value plus and minus .03."""
    assert described(CHANCE + above, half) == "not distinguishable from chance on clean images"


@pytest.mark.parametrize("half", [LOST, KEPT])
def test_a_curve_without_interval_is_not_distinguishable_from_chance(half):
    """A single study has no interval."""
    found = results([cell(0.0, 1.0), cell(0.3, 1.0)])
    for each in found["measurements"]:
        each["metrics"]["hit@10"] = {"value": 1.0, "low": None, "high": None}
    area = {"value": 1.0, "low": None, "high": None}
    found["curves"] = [{**CURVE, "level_of_half_loss": half, "area_under_curve": area}]
    words = "not distinguishable from chance on clean images"
    assert f"phantom square black: mean over levels 1.000 [-, -]; {words}" in summary(found, 100)
    page = " ".join(html(found).split())
    assert f"mean over levels 1.000, interval unknown; {words}" in page
    assert "()" not in page


def test_a_curve_above_chance():
    assert described(CHANCE + 0.0301, KEPT).startswith("less than half")


def test_the_cell_of_another_curve_does_not_count():
    assert described(CHANCE, KEPT, fill="grey").startswith("less than half")
