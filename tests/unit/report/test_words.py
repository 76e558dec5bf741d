"""What is said of a curve, on the page and in the terminal."""

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


def told(clean, half, **changes):
    """What both say of a curve that begins with ``clean``."""
    found = results([cell(0.0, clean), cell(0.3, 0.01)])
    found["curves"] = [{**CURVE, "level_of_half_loss": half, **changes}]
    (line,) = [line for line in summary(found, 100) if "mean over levels" in line]
    words = line.partition("; ")[2]
    assert words in " ".join(html(found).split())
    return words


def test_where_half_is_lost():
    assert told(0.9, LOST) == "half of it is lost at level 0.54 [0.52, -]"


def test_what_keeps_more_than_half():
    assert told(0.9, KEPT) == "less than half of it is lost at every level measured"


@pytest.mark.parametrize("half", [LOST, KEPT])
@pytest.mark.parametrize("above", [-0.01, 0, 0.02, 0.0299])
def test_what_is_at_chance_has_nothing_to_lose(above, half):
    """The interval of a cell is its value less and more .03."""
    assert told(CHANCE + above, half) == "with nothing hidden it is not told from chance"


@pytest.mark.parametrize("half", [LOST, KEPT])
def test_what_has_no_interval_is_not_told_from_chance(half):
    """Such as a single study, found: it shows nothing either way."""
    found = results([cell(0.0, 1.0), cell(0.3, 1.0)])
    for each in found["measurements"]:
        each["metrics"]["hit@10"] = {"value": 1.0, "low": None, "high": None}
    area = {"value": 1.0, "low": None, "high": None}
    found["curves"] = [{**CURVE, "level_of_half_loss": half, "area_under_curve": area}]
    words = "with nothing hidden it is not told from chance"
    assert f"phantom square black: mean over levels 1.000 [-, -]; {words}" in summary(found, 100)
    page = " ".join(html(found).split())
    assert f"mean over levels 1.000, its interval unknown; {words}" in page
    assert "()" not in page


def test_what_is_above_chance_has():
    assert told(CHANCE + 0.0301, KEPT).startswith("less than half")


def test_the_cell_of_another_curve_does_not_count():
    assert told(CHANCE, KEPT, fill="grey").startswith("less than half")
