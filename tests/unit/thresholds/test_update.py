"""--robustness-update: what is written, what stays, what is refused."""

from __future__ import annotations

import difflib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.threshold_updates import FILE, STAMP, observed

from robustness.errors import GateError
from robustness.thresholds import MeasurementKey, load, updated
from robustness.thresholds._observed import observe


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "thresholds.yaml"
    path.write_text(FILE)
    return path


def run(path, *, every, cells=None):
    thresholds = load(path)
    cells = observed(thresholds) if cells is None else cells
    text, changes = updated(thresholds, cells, STAMP, every=every)
    return text, changes


def lines_of(before, after, sign):
    diff = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line[2:] for line in diff if line.startswith(sign)]


def test_new_writes_what_is_missing_and_nothing_else(file):
    text, changes = run(file, every=False)
    assert not lines_of(FILE, text, "-"), "every line there was is there still"
    comment, rule = lines_of(FILE, text, "+")
    assert comment == (
        "  # --robustness-update 2026-11-24: hit@10 0.550 [0.510, 0.580], n = 4000,"
        " weights 0123456789ab"
    )
    where = "model: phantom, evalset: phantom, pattern: grid, level: 0.3"
    assert rule == f"  - {{{where}, require: [hit@10 >= 0.5]}}"
    (change,) = changes
    assert change.done
    assert change.text == (
        "phantom, grid, level 0.3 now requires hit@10 >= 0.5"
        " (observed hit@10 0.550 [0.510, 0.580], n = 4000)"
    )


def test_all_rewrites_numbers_in_place(file):
    text, changes = run(file, every=True)
    gone, come = lines_of(FILE, text, "-"), lines_of(FILE, text, "+")
    clean = (
        "  # --robustness-update 2026-11-24: hit@10 0.850 [0.810, 0.880];"
        " median_rank 2.000 [1.000, 3.000], n = 4000, weights 0123456789ab"
    )
    assert gone == [
        '  - {model: phantom, level: 0, require: [hit@10 >= 0.5, "median_rank <= 60"]}  # clean',
        "      - hit@10 >= 0.2   # half",
    ]
    assert clean in come
    rule = "  - {model: phantom, level: 0, require: [hit@10 >= 0.8, median_rank <= 3]}  # clean"
    assert rule in come
    assert "      - hit@10 >= 0.5   # half" in come
    assert "      - hit@10 >= 2 * chance" in text, "what refers to something is no number"
    assert "require: [retention(hit@10) >= 1]" in text, "a rule for any model is a policy"
    assert len(changes) == 4


def test_what_is_written_is_read_and_holds(file):
    before = load(file)
    text, _ = run(file, every=True)
    file.write_text(text)
    after = load(file)
    assert after.models == before.models
    for cell in observed(after):
        place = MeasurementKey(
            *(cell[k] for k in ("model", "pattern", "fill", "level", "direction"))
        )
        mine = after.bounds(place, "phantom")
        assert mine
        for bound in mine:
            if bound.reference is None and not bound.metric.startswith("retention"):
                assert bound.margin(cell["metrics"][bound.metric]["value"]) >= 0


@pytest.mark.parametrize("every", [True, False])
def test_a_second_update_changes_nothing(file, every):
    text, _ = run(file, every=every)
    file.write_text(text)
    again, changes = run(file, every=every)
    assert again == text
    assert not changes


def test_a_later_update_replaces_its_comment(file):
    text, _ = run(file, every=True)
    file.write_text(text)
    thresholds = load(file)
    cells = observed(thresholds)
    for cell in cells:
        for part in ("value", "low", "high"):
            cell["metrics"]["hit@10"][part] -= 0.1
    again, changes = run(file, every=True, cells=cells)
    assert again.count("# --robustness-update") == text.count("# --robustness-update") == 3
    assert len(changes) == 3
    assert "hit@10 >= 0.7," in again


def test_part_of_the_fills_is_named(file):
    thresholds = load(file)
    cells = [cell for cell in observed(thresholds) if cell["fill"] == "grey"]
    text, _ = run(file, every=False, cells=cells)
    assert "level: 0.3, fill: [grey], require: [hit@10 >= 0.5]}" in text


def test_a_model_that_the_file_lacks_gets_none(file):
    thresholds = load(file)
    cells = [cell | {"model": "mine:load", "bounds": []} for cell in observed(thresholds)]
    text, changes = run(file, every=False, cells=cells)
    assert text == FILE
    assert {change.done for change in changes} == {False}
    assert "has no model 'mine:load'; name it under models first" in changes[0].text


def test_what_was_not_measured_gets_none(file):
    thresholds = load(file)
    cells = [cell | {"metrics": {}} for cell in observed(thresholds)]
    assert run(file, every=True, cells=cells) == (FILE, [])


def test_rules_in_brackets_cannot_be_added_to(file):
    text = FILE[: FILE.index("bounds:")] + (
        "bounds: [{level: 0, require: [retention(hit@10) >= 1]}]\n"
        "properties: {bound: hit@10 >= 0.2}\n"
    )
    file.write_text(text)
    with pytest.raises(GateError, match="bounds is a list in brackets; write each rule on a line"):
        run(file, every=False)


def test_a_file_that_changed_meanwhile_is_left_alone(file):
    thresholds = load(file)
    file.write_text(FILE.replace("  # Any model.\n", ""))
    with pytest.raises(GateError, match="changed while the gate ran; nothing was written"):
        updated(thresholds, observed(thresholds), STAMP, every=True)


# --- what n can resolve ------------------------------------------------------------------


def test_a_bound_at_chance_is_refused_with_the_n_it_would_need(file):
    thresholds = load(file)
    cells = observed(thresholds)
    for cell in cells:
        cell["metrics"]["hit@10"] = {"value": 0.3, "low": 0.1, "high": 0.5}
    text, changes = run(file, every=False, cells=cells)
    assert text == FILE
    (change,) = changes
    assert not change.done
    # .3 - .2 sqrt(64 / n) - .01 must reach .15 and a decimal: n = 4000 (.2 / .139)^2.
    assert change.text == (
        "phantom, grid, level 0.3 gets no bound: not distinguishable from chance (0.150) with n ="
        " 4000: hit@10"
        f" is 0.300 [0.100, 0.500]; this would need n = {math.ceil(4000 * (0.2 / 0.139) ** 2)}"
    )


def test_a_model_at_chance_would_need_no_n_at_all(file):
    cells = observed(load(file))
    for cell in cells:
        cell["metrics"]["hit@10"] = {"value": 0.155, "low": 0.1, "high": 0.2}
    _, (change,) = run(file, every=False, cells=cells)
    assert "not distinguishable from chance at any number of queries" in change.text


@given(
    value=st.floats(0.0, 1.0),
    below=st.floats(0.0, 1.0),
    slack=st.floats(0.0, 0.1),
    chance=st.floats(0.0, 0.9),
    n=st.integers(2, 10_000),
)
def test_a_written_bound_is_above_chance_and_the_n_asked_for_suffices(
    value, below, slack, chance, n
):
    low = max(0.0, value - below)
    cell = {
        "n": n,
        "metrics": {"hit@10": {"value": value, "low": low, "high": 1.0}},
        "chance": {"hit@10": chance},
    }
    found = observe("hit@10", [cell], slack)
    if not isinstance(found, str):
        assert chance < found.bound.limit <= low
    elif "this would need" in found:
        assert int(found.rpartition("n = ")[2]) > n


@pytest.mark.parametrize(("right", "n"), [(48, 48), (47, 48), (500, 512), (512, 512), (200, 512)])
def test_no_spread_among_resamples_is_no_certainty(right, n):
    """The bootstrap of 48 right of 48 is [1, 1]; another draw of queries need not be."""
    from scipy.stats import binomtest

    share = right / n
    cell = {
        "n": n,
        "metrics": {"hit@10": {"value": share, "low": share, "high": share}},
        "chance": {"hit@10": 0.02},
    }
    found = observe("hit@10", [cell], 0.0)
    wilson = binomtest(right, n).proportion_ci(0.95, method="wilson").low
    assert found.bound.limit == math.floor(1000 * wilson) / 1000


def test_the_n_that_is_asked_for_suffices():
    """With the interval as much narrower as its root says, the bound lies above chance."""

    def observed_at(n):
        half = 0.2 * math.sqrt(400 / n)
        return observe(
            "hit@10",
            [
                {
                    "n": n,
                    "metrics": {"hit@10": {"value": 0.3, "low": 0.3 - half, "high": 0.5}},
                    "chance": {"hit@10": 0.15},
                }
            ],
            0.01,
        )

    needed = int(observed_at(400).rpartition("n = ")[2])
    assert needed > 400
    assert not isinstance(observed_at(needed), str)
    assert isinstance(observed_at(needed - 5), str)
