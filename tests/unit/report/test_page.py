"""The page: its content, that it is self-contained, and that no name can break it."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.report_results import CHANCE, Page, cell, prop, results, unmeasured

from robustness.report import _chart, html

FAILED = {"verdict": "fail", "reason": "bound_missed", "message": "hit@10 is 0.300, bound >= 0.4"}


def page(*args, **kwargs):
    return Page(html(results(*args, **kwargs)))


# --- content -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "cells",
    [
        [cell(0.0, 0.9), cell(0.3, 0.6)],
        [cell(0.0, 0.9), cell(0.3, 0.3, **FAILED)],
        [cell(0.0, 0.9), unmeasured(0.3)],
        [unmeasured(0.0), unmeasured(0.3, "fail", "crashed")],
    ],
    ids=["pass", "fail", "not measured", "nothing"],
)
def test_verdict_reason_and_counts_come_first(cells):
    given_ = results(cells)
    shown = Page(html(given_))
    assert shown.by_id["verdict"] == given_["verdict"].upper()
    assert shown.by_id["reason"] == given_["reason"]
    assert given_["message"] in shown.text
    assert {k: int(shown.by_id[k]) for k in given_["summary"]} == given_["summary"]
    assert shown.text.index("Reason") < shown.text.index("Environment")


def test_failures_come_before_unmeasured_and_passed_items():
    cells = [cell(0.0, 0.9), unmeasured(0.1), cell(0.3, 0.3, **FAILED), cell(0.5, 0.5)]
    properties = [prop("bound"), prop("nested", **FAILED | {"occlusion": "square:0.2:black:0"})]
    shown = page(cells, properties)
    verdicts = [row[0] for row in shown.rows if len(row) == 10 and row[0] != "verdict"]
    assert verdicts == ["fail", "not measured", "pass", "pass"]
    row = next(row for row in shown.rows if "30 %" in row)
    assert row[:9] == [
        "fail", "square", "30 %", "black", "image to report", "48", "0.300", "0.270 to 0.330",
        "0.318",
    ]  # fmt: skip
    assert row[9] == "bound_missed hit@10 is 0.300, bound >= 0.4"
    assert [row[:3] for row in shown.rows if len(row) == 6 and row[0] in {"fail", "pass"}] == [
        ["fail", "phantom", "nested"],
        ["pass", "phantom", "bound"],
    ]
    assert "square:0.2:black:0" in shown.text


def test_causes_are_counted_by_reason():
    cells = [cell(0.0, 0.9), *(cell(level, 0.3, **FAILED) for level in (0.1, 0.2)), unmeasured(0.3)]
    causes = [row for row in page(cells).rows if len(row) == 4][1:]
    assert [row[:3] for row in causes] == [
        ["fail", "bound_missed", "2"],
        ["not measured", "not_run", "1"],
    ]
    assert causes[0][3].startswith("phantom, square at 10 %, black, image to report: hit@10 is")


def test_excluded_items_are_counted_by_reason_and_model():
    rows = page(excluded={"no frontal view": 31}, left_out={"empty report": 4}).rows
    assert ["no frontal view", "31", "every model"] in rows
    assert ["empty report", "4", "phantom"] in rows
    assert "Nothing: every image" in page().text


def test_exclusions_are_unknown_if_nothing_was_measured():
    given_ = results([unmeasured(0.0)], [])
    given_["protocol"] |= {"evalset": {"spec": "phantom:48"}, "models": []}
    shown = Page(html(given_))
    assert "Unknown: nothing was measured." in shown.text
    assert "Nothing: every image" not in shown.text


def test_fingerprints_protocol_and_environment_are_there():
    text = page().text
    for value in ("ab" * 32, "cd" * 32, "ef" * 32, "0" * 40, "percentile bootstrap", "torch 2.11"):
        assert value in text
    assert "pillow" not in text


def test_the_page_is_made_of_results_json_alone():
    given_ = results([cell(0.0, 0.9), unmeasured(0.3)])
    assert html(json.loads(json.dumps(given_))) == html(given_)


# --- self-contained and safe ----------------------------------------


def test_no_script_no_network_no_font():
    text = html(results())
    shown = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & {
        *shown.tags
    }
    names = {name for _, name, _ in shown.attributes}
    assert not {name for name in names if name.startswith("on")}
    assert not names & {"src", "href", "srcset", "action", "data", "style"}
    assert not re.search(r"https?:|@import|@font-face|url\(|//", text)
    policy = next(value for _, name, value in shown.attributes if value and "default-src" in value)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onload='x",
    "</td></tr></table></body>",
    "{{ 7 * 7 }}",
    "&lt;b&gt;",
    "a_long_name" * 60,
]


@settings(max_examples=30)
@given(
    st.one_of(
        st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
    )
)
def test_a_name_is_text_and_nothing_but_text(name):
    def of(name):
        cells = [cell(0.0, 0.9, model=name), cell(0.3, 0.3, model=name, **FAILED)]
        cells[1] |= {"message": name}
        given_ = results(cells, [prop("bound", model=name)], excluded={name: 3}, model=name)
        given_["message"] = given_["protocol"]["evalset"]["spec"] = name
        return Page(html(given_))

    shown, plain = of(name), of("plain")
    assert shown.tags == plain.tags
    assert [each[:2] for each in shown.attributes] == [each[:2] for each in plain.attributes]
    assert [name, "3", "every model"] in shown.rows
    labels = [value for _, attribute, value in shown.attributes if attribute == "aria-label"]
    assert all(label.startswith(name + ", square") for label in labels)


# --- curves ----------------------------------------------------------------------------------


def height(share):
    return _chart.TOP + (1 - share) * (_chart.HEIGHT - _chart.TOP - _chart.BOTTOM)


def points(text):
    return [tuple(map(float, point.split(","))) for point in text.split()]


def test_a_curve_goes_through_its_values_and_its_band_through_its_intervals():
    cells = [cell(0.3, 0.6), cell(0.0, 0.9), cell(0.0, 0.8, fill="grey")]
    (chart,) = _chart.charts(cells)
    black, grey = chart.lines
    assert (black.fill, grey.fill) == ("black", "grey")
    (path,), (band,) = map(points, black.paths), map(points, black.bands)
    right = _chart.WIDTH - _chart.RIGHT
    assert path == [
        pytest.approx((_chart.LEFT, height(0.9)), abs=0.06),
        pytest.approx((right, height(0.6)), abs=0.06),
    ]
    expected = [height(share) for share in (0.93, 0.63, 0.57, 0.87)]
    assert [y for _, y in band] == pytest.approx(expected, abs=0.06)
    assert chart.chance == pytest.approx(height(CHANCE), abs=0.06)
    assert not chart.missing
    assert "black, 30 % hidden: hit@10 0.600 [0.570, 0.630], pass" in html(results(cells))


def test_a_curve_breaks_where_a_level_has_no_value():
    cells = [cell(0.0, 0.9), cell(0.1, 0.8), unmeasured(0.2), cell(0.3, 0.5, **FAILED)]
    cells.append(unmeasured(0.4, "fail", "crashed"))
    (chart,) = _chart.charts(cells)
    (line,) = chart.lines
    assert [len(points(path)) for path in line.paths] == [2, 1]
    assert [len(points(band)) for band in line.bands] == [4, 2]
    assert [dot.failed for dot in line.dots] == [False, False, True]
    assert [(mark.tooltip, mark.failed) for mark in chart.missing] == [
        ("20 % hidden: not_run", False),
        ("40 % hidden: crashed", True),
    ]


def test_a_value_without_an_interval_breaks_the_band_alone():
    cells = [cell(0.0, 0.9), cell(0.1, 0.8), cell(0.2, 0.7)]
    cells[1]["metrics"]["hit@10"] |= {"low": None, "high": None}
    (chart,) = _chart.charts(cells)
    assert len(chart.lines[0].paths) == 1
    assert len(chart.lines[0].bands) == 2


def test_the_highest_bound_is_drawn_also_if_it_is_on_retention():
    retention = {"metric": "retention(hit@10)", "operator": ">=", "limit": 0.7, "line": 3}
    absolute = {"metric": "hit@10", "operator": ">=", "limit": 0.4, "line": 4}
    other = {"metric": "median_rank", "operator": "<=", "limit": 5, "line": 5}
    cells = [
        cell(0.0, 0.9, bounds=[absolute, other]),
        cell(0.3, 0.8, bounds=[absolute, retention]),
        cell(0.3, 0.8, fill="grey", bounds=[absolute, retention]),  # its clean value is unknown
        cell(0.5, 0.8, bounds=[other]),
    ]
    (chart,) = _chart.charts(cells)
    at = [mark.y for mark in chart.bounds]
    expected = [0.4, CHANCE + 0.7 * (0.9 - CHANCE), 0.4]
    assert at == pytest.approx([height(share) for share in expected], abs=0.06)
    assert chart.bounds[1].tooltip == "bound at 30 % hidden: retention(hit@10) >= 0.7"


@given(st.sets(st.floats(0, 1), min_size=1, max_size=40))
def test_every_drawing_lies_inside_and_no_labels_overlap(levels):
    cells = [cell(level, 1 - level) for level in levels]
    (chart,) = _chart.charts(cells)
    places = [
        p for line in chart.lines for text in (*line.paths, *line.bands) for p in points(text)
    ]
    assert all(0 <= x <= _chart.WIDTH and 0 <= y <= _chart.HEIGHT for x, y in places)
    ticks = [x for x, _ in chart.x_ticks]
    assert ticks
    assert all(b - a >= _chart.MIN_TICK_DISTANCE for a, b in pairwise(ticks))


def test_one_panel_per_pattern_and_direction():
    cells = [
        cell(0.0, 0.9, pattern=pattern, direction=direction)
        for pattern in ("square", "grid")
        for direction in ("image_to_report", "report_to_image")
    ]
    shown = Page(html(results(cells)))
    assert shown.tags.count("figure") == 4
    assert [(c.pattern, c.direction) for c in _chart.charts(cells)][1] == (
        "square",
        "report_to_image",
    )
