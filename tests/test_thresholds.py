"""thresholds.yaml: what it means, and what a careless edit is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustness.errors import UsageError
from robustness.thresholds import Bound, MeasurementKey, load

COMPLETE = """\
version: 1
evalset: phantom:64
models:
  phantom:
    loader: robustness.models.phantom:load
  other:
    loader: somewhere.else:load
    weights: weights/other.pt
    optional: true
    options: {variant: small, scale: 2, sharp: 0.5, deep: false}
occlusion:
  patterns: [square, grid]
  fills: [black, grey]
  levels: [0, 0.3, 0.1]
bounds:
  - {require: [hit@10 >= 0.1, median_rank <= 60]}
  - {model: phantom, level: [0, 0.1], require: [hit@10 >= 0.5]}
  - {evalset: open_i, direction: image_to_report, require: hit@10 >= 0.02}
properties:
  bound: hit@10 >= 0.2
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "thresholds.yaml"
    path.write_text(text)
    return path


def cell(**changes) -> MeasurementKey:
    given = {"model": "phantom", "pattern": "grid", "fill": "grey", "level": 0.1}
    return MeasurementKey(**(given | {"direction": "image_to_report"} | changes))


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
    thresholds = load(Path(__file__).parents[1] / "thresholds.yaml")
    assert set(thresholds.fills) == {"black", "grey"}
    assert max(thresholds.levels) == 0.7


CARELESS = [
    ("version: 1", "version: 2", 1, "version is 2; allowed is 1"),
    ("version: 1\n", "", 1, "key 'version' is missing in the file; required: version, evalset"),
    ("evalset:", "evalsets:", 2, "unknown key 'evalsets' in the file; allowed: version,"),
    ("evalset:", "evalsets:", 2, "did you mean 'evalset'?"),
    ("phantom:64", "imagenet:5", 2, "unknown evaluation set 'imagenet:5'; allowed are phantom"),
    ("phantom:64", "", 2, ": evalset must be text, not empty"),
    (
        "robustness.models.phantom:load",
        "robustness.models.phantom",
        5,
        "loader 'robustness.models.phantom' is invalid; allowed: package.module:function, such as",
    ),
    (
        "loader: somewhere",
        "load: somewhere",
        7,
        "unknown key 'load' in models.other; allowed: loader, weights,",
    ),
    ("  other:", "  phantom:", 6, "duplicate key 'phantom' in models"),
    (
        "  other:",
        "  o ther:",
        6,
        "model name 'o ther' is invalid; allowed: letters, digits, '_' and",
    ),
    (
        "optional: true",
        "optional: maybe",
        9,
        "models.other.optional must be true or false, not 'maybe'",
    ),
    ("[square, grid]", "[square, stripes]", 12, "unknown pattern 'stripes'; allowed: square"),
    ("[square, grid]", "[square, gird]", 12, "did you mean 'grid'?"),
    ("[square, grid]", "[]", 12, ": occlusion.patterns is empty; name at least one"),
    ("[square, grid]", "square", 12, ": occlusion.patterns must be a list, not 'square'"),
    ("[black, grey]", "[black, black]", 13, "duplicate 'black' in occlusion.fills"),
    (
        "0.3, 0.1]",
        "1.3, 0.1]",
        14,
        "occlusion.levels[1] is 1.3; it must be at least 0 and at most 1",
    ),
    ("0.3, 0.1]", "30, 0.1]", 14, "so 30 % is written 0.3"),
    (
        "0.3, 0.1]",
        ".nan, 0.1]",
        14,
        "occlusion.levels[1] is nan; it must be at least 0 and at most 1",
    ),
    ("[0, 0.3, 0.1]", "[0.3, 0.1]", 14, "lacks level 0, the clean images"),
    ("0.3, 0.1]", "much, 0.1]", 14, "occlusion.levels[1] must be a number, not 'much'"),
    ("hit@10 >= 0.1,", "hit@11 >= 0.1,", 16, "unknown metric 'hit@11'; allowed: hit@1, hit@5"),
    (
        "hit@10 >= 0.1,",
        "hit@10 > 0.1,",
        16,
        "is not METRIC >= LIMIT, METRIC <= LIMIT or METRIC",
    ),
    (
        "hit@10 >= 0.1,",
        "hit@10 >= 80,",
        16,
        "hit@10 is at least 0 and at most 1 (80 % is written 0.8)",
    ),
    ("hit@10 >= 0.1,", "hit@10 >= nan,", 16, "hit@10 is at least 0 and at most 1"),
    (
        "hit@10 >= 0.1,",
        "hit@10 >= lots,",
        16,
        "unknown limit 'lots' in bound 'hit@10 >= lots'; allowed: a number, chance",
    ),
    ("median_rank <= 60", "median_rank <= 0", 16, "median_rank is at least 1 and finite"),
    ("- {require", "- {level: 0.2, require", 16, "unknown level '0.2'; allowed: 0, 0.1, 0.3"),
    ("- {require", "- {model: fantom, require", 16, "did you mean 'phantom'?"),
    (
        "- {require",
        "- {modle: phantom, require",
        16,
        "unknown key 'modle' in bounds[0]; allowed: model, evalset",
    ),
    (
        "- {require:",
        "- {level: 0} # ",
        16,
        "key 'require' is missing in bounds[0]; required: require",
    ),
    ("  bound: hit@10 >= 0.2", "  bound:", 20, ": properties.bound must be text, not empty"),
    ("  bound: hit@10 >= 0.2", "  bound: rsum >= 2", 20, "unknown metric 'rsum'"),
    ("  bound: hit@10 >= 0.2", "  subset: 64", 20, "key 'bound' is missing"),
    ("  bound:", "  subset: 1\n  bound:", 20, "properties.subset is 1; it must be at least 2"),
    ("  bound:", "  noise: 3\n  bound:", 20, "noise is 3; it must be at least 0 and at most 1"),
    ("  bound:", "  bound: [\n", 22, "invalid YAML"),
    ("bounds:", "regression: {mode: strict}\nbounds:", 15, "unknown mode 'strict'; allowed: reg"),
    (
        "bounds:",
        "regression: {margin: 1.5}\nbounds:",
        15,
        "margin is 1.5; it must be at least 0 and",
    ),
    ("bounds:", "regression: {margin: 1}\nbounds:", 15, "below 1; 1 point is written 0.01"),
    ("bounds:", "regression: {alpha: 0}\nbounds:", 15, "alpha is 0; it must be above 0 and"),
    ("bounds:", "regression: {metric: rsum}\nbounds:", 15, "unknown metric 'rsum'; allowed: hit"),
    (
        "bounds:",
        "regression: {tolerance: 1}\nbounds:",
        15,
        "unknown key 'tolerance' in regression; allowed",
    ),
    ("version: 1", "version: 1\n\tx: 2", 2, "invalid YAML: found character '\\t'"),
]
"""An edit of :data:`COMPLETE`: before, after, the line at fault, what is said of it."""


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
