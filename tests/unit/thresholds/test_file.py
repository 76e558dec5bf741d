"""thresholds.yaml: what it means, and what a careless edit is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.thresholds_files import CARELESS, COMPLETE, cell, written

from robustness.errors import UsageError
from robustness.thresholds import Bound, load


def texts(bounds: tuple[Bound, ...]) -> set[str]:
    return {str(bound) for bound in bounds}


def test_a_complete_file(tmp_path):
    thresholds = load(written(tmp_path, COMPLETE))
    assert thresholds.levels == (0, 0.1, 0.3)
    assert thresholds.positives == "identical_text"
    assert thresholds.seed == 0
    assert thresholds.models["phantom"].weights is None
    other = thresholds.models["other"]
    assert other.optional
    assert other.weights == tmp_path / "weights" / "other.pt"
    assert other.options == {"variant": "small", "scale": 2, "sharp": 0.5, "deep": False}
    assert [type(value) for value in other.options.values()] == [str, int, float, bool]
    assert thresholds.properties.bound == Bound("hit@10", at_least=True, limit=0.2, line=0)
    assert thresholds.properties.subset == 64


def test_a_set_in_a_place_is_held_as_it_is_written(tmp_path):
    (tmp_path / "table.csv").touch()
    (tmp_path / "images").mkdir()
    text = COMPLETE.replace("phantom:64", "manifest:table.csv,root=images")
    assert load(written(tmp_path, text)).evalset == "manifest:table.csv,root=images"


def test_a_set_that_the_command_line_replaces_need_not_be_there(tmp_path):
    path = written(tmp_path, COMPLETE.replace("phantom:64", "manifest:gone.csv"))
    assert load(path, overridden=True).evalset == "manifest:gone.csv"
    with pytest.raises(UsageError, match="no file .*gone.csv"):
        load(path)


def test_later_rules_replace_earlier_ones_metric_by_metric(tmp_path):
    thresholds = load(written(tmp_path, COMPLETE))
    low, high = cell(level=0.1), cell(level=0.3)
    assert texts(thresholds.bounds(low, "phantom")) == {"hit@10 >= 0.5", "median_rank <= 60"}
    assert texts(thresholds.bounds(high, "phantom")) == {"hit@10 >= 0.1", "median_rank <= 60"}
    other = cell(model="other", level=0.1)
    assert texts(thresholds.bounds(other, "phantom")) == {"hit@10 >= 0.1", "median_rank <= 60"}


def test_rules_can_speak_of_one_evaluation_set_and_direction(tmp_path):
    thresholds = load(written(tmp_path, COMPLETE))
    there, back = cell(), cell(direction="report_to_image")
    assert "hit@10 >= 0.02" in texts(thresholds.bounds(there, "open_i"))
    assert "hit@10 >= 0.5" in texts(thresholds.bounds(back, "open_i"))


def test_bounds_know_their_line(tmp_path):
    thresholds = load(written(tmp_path, COMPLETE))
    assert {bound.line for bound in thresholds.bounds(cell(), "phantom")} == {16, 17}


def test_margins():
    at_least = Bound("hit@10", at_least=True, limit=0.5, line=1)
    at_most = Bound("median_rank", at_least=False, limit=5, line=1)
    assert at_least.margin(0.75) == 0.25
    assert at_least.margin(0.25) == -0.25
    assert at_most.margin(4) == 1
    assert at_most.margin(7) == -2


def test_the_repository_s_own_file_is_sound():
    thresholds = load(Path(__file__).parents[3] / "thresholds.yaml")
    assert set(thresholds.fills) == {"black", "grey"}
    assert max(thresholds.levels) == 0.7


@pytest.mark.parametrize(("before", "after", "line", "message"), CARELESS)
def test_careless_edits(tmp_path, before, after, line, message):
    assert before in COMPLETE
    path = written(tmp_path, COMPLETE.replace(before, after, 1))
    with pytest.raises(UsageError) as caught:
        load(path)
    text = str(caught.value)
    assert message in text
    assert text.startswith(f"{path}:{line}:")
    assert "\n" not in text


def test_a_bound_that_decides_nothing_is_named(tmp_path):
    unused = "  - {level: 0.3, require: [hit@10 >= 0.9]}\n"
    path = written(tmp_path, COMPLETE.replace("bounds:\n", f"bounds:\n{unused}"))
    with pytest.raises(
        UsageError, match="'hit@10 >= 0.9' on line 16 can never apply: later rules replace it"
    ):
        load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ":1: the file is empty"),
        (b"# only a comment\n", ":1: the file is empty"),
        (b"- a\n- b\n", ":1: the file must be a mapping of keys to values, not a list"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"a: \x00", ":1: invalid YAML"),
        (b"a: !!python/object/apply:os.system [echo]\n", ":1: unknown key 'a'"),
    ],
)
def test_files_that_are_no_thresholds(tmp_path, content, message):
    path = tmp_path / "thresholds.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="thresholds") as caught:
        load(path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        (b"a: [1,\n  2", "2:4", "expected ',' or ']', but got '<stream end>'"),
        (b"a: b: c\n", "1:5", "mapping values are not allowed here"),
        (b"a: \x00", "1:1", "unacceptable character #x0000: special characters are not allowed"),
    ],
)
def test_what_is_no_yaml_says_where_and_why(tmp_path, content, place, message):
    path = tmp_path / "thresholds.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load(path)
    assert str(caught.value) == f"{path}:{place}: invalid YAML: {message}"


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: No such file or directory; name one"):
        load(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["1e-5", "1E-5", "1.0e-5", "0.00001"])
def test_small_levels_are_numbers_however_they_are_written(tmp_path, text):
    given = COMPLETE.replace("bounds:", f"regression: {{alpha: {text}}}\nbounds:", 1)
    assert load(written(tmp_path, given)).regression.alpha == 1e-5


def test_what_is_quoted_is_text(tmp_path):
    given = COMPLETE.replace("bounds:", 'regression: {alpha: "1e-5"}\nbounds:', 1)
    with pytest.raises(UsageError, match="alpha must be a number, not '1e-5'"):
        load(written(tmp_path, given))
