"""The time of a run by phase, in the terminal and on the page."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.report_results import PROFILE, Page, comparison, results
from support.report_results import case as compared

from robustness._util.profile import PHASES
from robustness.report import html, summary
from robustness.report._comparison import comparison_lines
from robustness.report._time import REST, WIDTH, number, rows, time_lines


def timing(**changes):
    return results()["timing"] | changes


def profile(seconds, phases, **changes):
    taken = {name: {"seconds": s, "items": n} for name, (s, n) in phases.items()}
    return PROFILE | {"seconds": seconds, "phases": taken} | changes


def test_two_lines_before_the_verdict():
    first, second = summary(results(), 80)[-2:]
    assert first == (
        "time: 1.5 s; 50 % forward passes (160 images/s), 20 % model loading, 12 % ranking,"
        " 18 % other"
    )
    assert second == "peak memory 780 MB; store 1 found, 2 computed"


def test_several_processes_and_a_gpu():
    changed = timing(
        processes=4,
        store={"found": 1, "computed": 2, "damaged": 3},
        profile=PROFILE | {"images_per_second": 1234.5, "peak_device_memory_mb": 12345.6},
    )
    first, second = time_lines(changed)
    assert first.startswith("time: 1.5 s in 4 processes; 50 % forward passes (1,234 images/s per")
    assert second == (
        "peak memory 780 MB per process; peak GPU memory 12,346 MB per process;"
        " store 1 found, 2 computed, 3 damaged"
    )


def test_a_run_that_finds_all_in_the_store_has_no_rate():
    found = profile(2.0, {"ranking": (1.5, 9), "store": (0.01, 3)}, images_per_second=None)
    assert time_lines(timing(profile=found))[0] == "time: 1.5 s; 75 % ranking, 24 % other"


@pytest.mark.parametrize("seconds", [0.0, 1.2], ids=["nothing was run", "every case crashed"])
def test_no_case_reported_its_phases(seconds):
    nothing = profile(seconds, {}, images_per_second=None, peak_memory_mb=None)
    changed = timing(processes=0, profile=nothing, model_loads=0)
    assert time_lines(changed) == []
    page = Page(html(results() | {"timing": changed}))
    assert page.by_id["time"] == ("1.5 s; the breakdown is unknown, since no case reported it.")
    assert "process" not in page.text
    assert "phase" not in page.text


def test_the_page_has_every_phase_with_its_numbers():
    page = Page(html(results()))
    start = page.rows.index(["phase", "seconds", "share", "", "items", "items/s"])
    assert page.rows[start + 1 : start + 7] == [
        ["model loading", "0.25", "20.0 %", "", "1", "4.0"],
        ["occlusion", "0.10", "8.0 %", "", "96", "960"],
        ["image forward", "0.50", "40.0 %", "", "96", "192"],
        ["text forward", "0.12", "10.0 %", "", "40", "320"],
        ["ranking", "0.15", "12.0 %", "", "176", "1,173"],
        ["everything else", "0.12", "10.0 %", "", "-", "-"],
    ]
    assert page.by_id["time"].split("; ") == [
        "1.5 s in 1 process, 1 model load",
        "160 images/s",
        "peak memory 780 MB",
        "store 1 found, 2 computed",
    ]
    assert page.text.index("Time") < page.text.index("Protocol")


def test_forward_passes_are_marked():
    found = re.findall(
        r'<tr><td class="short">([^<]+)</td>.*?<rect class="(\w+)"', html(results()), re.DOTALL
    )
    assert [name for name, kind in found if kind == "forward"] == ["image forward", "text forward"]
    assert len(found) == 6


seconds = st.floats(0, 1e5)


@given(
    st.dictionaries(st.sampled_from(PHASES), st.tuples(seconds, st.integers(0, 10**9))),
    st.floats(0, 1e4),
    st.one_of(st.none(), st.floats(0.1, 1e6)),
)
@pytest.mark.slow
def test_shares_add_up_to_one_and_every_bar_fits(phases, beyond, rate):
    whole = sum(s for s, _ in phases.values()) + beyond
    changed = timing(profile=profile(whole, phases, images_per_second=rate))
    found = rows(changed)
    assert [row.name for row in found] == ([*phases, REST] if whole else [])
    if found:
        assert sum(row.share for row in found) == pytest.approx(1)
        assert all(0 <= row.bar <= WIDTH + 0.1 for row in found)
    first, _ = time_lines(changed)
    shown = [int(text) for text in re.findall(r"(\d+) %", first)]
    assert sum(shown) <= 103
    assert all(shown)
    Page(html(results() | {"timing": changed}))


@pytest.mark.parametrize(
    ("value", "text"), [(0.04, "0.0"), (9.96, "10.0"), (99.9, "99.9"), (1234.5, "1,234")]
)
def test_numbers(value, text):
    assert number(value) == text


# --- a comparison across precisions ------------------------------------------------------------

ACROSS = {"here": "bfloat16", "baseline": "float32"}
NOTE = "forward passes in bfloat16 here and in float32 in the baseline"


def test_two_precisions_are_reported():
    assert comparison_lines(comparison(compared(0.0), precision=ACROSS))[1] == f"  {NOTE}"
    across = results() | {"comparison": comparison(compared(0.0), precision=ACROSS)}
    assert f"Note: {NOTE}." in Page(html(across)).text
    assert not any("forward passes" in line for line in comparison_lines(comparison(compared(0.0))))
    same = results() | {"comparison": comparison(compared(0.0))}
    assert "Note: " not in html(same)
