"""The comparison with a baseline and the follow-up of a run, on the page."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.report_results import (
    NOTHING,
    REFUSED,
    Page,
    beside,
    case,
    cell,
    comparison,
    prop,
    results,
    strict,
    update,
)

from robustness.report import html
from robustness.report._forest import MARGIN, WIDTH, forest

# --- the page ----------------------------------------------------------------------------------


def test_the_table_lists_failures_first():
    cases = [case(0.001), case(0.02, "fail"), case(0.08, "fail", level=0.7, fill="grey"), REFUSED]
    page = Page(html(beside(*cases)))
    assert "Comparison with baseline 0003_main" in page.text
    shown = [row for row in page.rows if "pass" in row[0] or "fail" in row[0]]
    assert [row[-1] for row in shown].count(f"baseline_mismatch {REFUSED['message']}") == 1
    start = shown.index(["fail", f"baseline_mismatch {REFUSED['message']}"])
    table = [[text for i, text in enumerate(row) if i != 7] for row in shown[start + 1 : start + 4]]
    assert table == [
        ["fail", "phantom", "square", "70 %", "grey", "8.0", "5.0 to 11.0", "3.2e-08", "2.0"],
        ["fail", "phantom", "square", "30 %", "black", "2.0", "-1.0 to 5.0", "3.2e-08", "2.0"],
        ["pass", "phantom", "square", "30 %", "black", "0.1", "-2.9 to 3.1", "1", "2.0"],
    ]
    assert (
        "A comparison fails if hit@10 drops by over 1 point and log ranks rise, p <= 0.001 (Holm)."
        in page.text
    )
    assert "p is from sign flips of the patients' log ranks" in page.text


def test_the_causes_name_the_worst_comparison():
    page = Page(html(beside(case(0.02, "fail"), case(0.08, "fail", level=0.7))))
    (cause,) = [row for row in page.rows if len(row) == 4 and row[0] == "fail"]
    assert cause == [
        "fail",
        "regression",
        "2",
        "phantom, square, black at 70 %, compared with the baseline: hit@10 fell by 8.0 points",
    ]


def test_a_model_that_regressed_does_not_pass_on_the_page():
    def heading(given_):
        return re.search(r"<h2>phantom <span class=\"tag (\w+)\">", html(given_))[1]

    assert heading(beside(case(0.0))) == "pass"
    assert heading(beside(case(0.08, "fail"))) == "fail"
    assert "<details open>" not in html(beside(case(0.08, "fail"))), "its measurements passed"


def test_non_inferiority_has_its_own_column_and_words():
    page = Page(html(beside(strict(0.0341), mode="non_inferiority", alpha=0.05)))
    assert [row[8] for row in page.rows if "p (Holm)" in row] == ["not excluded up to"]
    assert [row[8] for row in page.rows if len(row) == 10 and row[6] == "-3.0 to 3.0"] == ["3.4"]
    assert "over all comparisons. The confidence is simultaneous." in page.text


def test_no_comparison_no_section():
    text = html(results())
    assert "Comparison" not in text
    assert "After the run" not in text


def test_the_follow_up_is_on_the_page():
    whole = beside(case(0.0))
    whole["followup"] = {**NOTHING, "updates": [update("t.yaml:3: LOOSENED a -> b", loosened=True)]}
    page = Page(html(whole))
    assert "After the run" in page.text
    assert "t.yaml:3: LOOSENED a -> b" in page.text
    whole["followup"]["updates"] = [update(f"t.yaml:{i}: written;") for i in range(40)]
    shown = Page(html(whole)).text
    assert all(f"t.yaml:{i}: written;" in shown for i in range(40)), "here there is room for all"


def test_the_page_is_made_of_results_json_alone():
    whole = beside(case(0.02, "fail"), REFUSED, case(0.0, smallest_drop=None))
    assert html(json.loads(json.dumps(whole))) == html(whole)


@settings(max_examples=20)
@given(st.sampled_from(["<script>", '"><img src=x>', "</td></table>", "{{ 7 * 7 }}", "a" * 500]))
def test_a_name_is_text_and_nothing_but_text(name):
    def of(name):
        whole = beside(
            case(0.08, "fail", model=name, message=name), REFUSED | {"model": name}, baseline=name
        )
        whole["followup"] = {**NOTHING, "saved": name, "updates": [update(name)]}
        whole["measurements"], whole["properties"] = (
            [cell(0.0, 0.9, model=name)],
            [prop("a", model=name)],
        )
        return Page(html(whole))

    shown, plain = of(name), of("plain")
    assert shown.tags == plain.tags
    assert [each[:2] for each in shown.attributes] == [each[:2] for each in plain.attributes]
    assert f"Comparison with baseline {name}" in shown.text


# --- the drawing -------------------------------------------------------------------------------


def test_drops_share_one_axis():
    drawn = forest(comparison(case(0.0, half=0.02), case(0.06, "fail", half=0.02)))
    inner = WIDTH - 2 * MARGIN

    def x(drop):
        return MARGIN + inner * (drop + 0.02) / 0.1

    (_, worst), (_, other) = drawn.rows
    assert (worst.low, worst.x, worst.high) == pytest.approx((x(0.04), x(0.06), x(0.08)), abs=0.06)
    assert (other.low, other.x, other.high) == pytest.approx((x(-0.02), x(0), x(0.02)), abs=0.06)
    assert drawn.zero == pytest.approx(x(0), abs=0.06)
    assert drawn.margin == pytest.approx(x(0.01), abs=0.06)
    assert [text for _, text in drawn.ticks] == ["0", "5"]
    assert [place for place, _ in drawn.ticks] == pytest.approx([x(0), x(0.05)], abs=0.06)
    assert worst.tooltip == "phantom, square, black at 30 %: drop of 6 points, 4.0 to 8.0"


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 1)), min_size=1, max_size=20),
    st.floats(0, 0.99),
)
def test_every_drawing_lies_inside(drops, margin):
    cases = [
        case(drop, drop={"value": drop, "low": max(drop - half, -1), "high": min(drop + half, 1)})
        for drop, half in drops
    ]
    drawn = forest(comparison(*cases, margin=margin))
    ticks = [x for x, _ in drawn.ticks]
    places = [drawn.zero, drawn.margin, *ticks]
    for _, mark in drawn.rows:
        assert mark.low <= mark.x <= mark.high
        places += [mark.low, mark.high]
    assert all(MARGIN <= x <= WIDTH - MARGIN for x in places)
    assert 1 <= len(ticks) <= 5
    assert any(text == "0" and x == drawn.zero for x, text in drawn.ticks)
    assert all(b - a >= 24 for a, b in pairwise(ticks)), "no text covers another"


def test_no_whisker_without_an_interval_and_no_drawing_without_a_drop():
    unknown = case(0.02, drop={"value": 0.02, "low": None, "high": None})
    drawn = forest(comparison(unknown, REFUSED))
    assert [mark and (mark.low, mark.high) for _, mark in drawn.rows] == [None, (None, None)]
    page = Page(html(beside(unknown, REFUSED)))
    assert not [value for _, name, value in page.attributes if value == "whisker"]
    assert forest(None) is None
