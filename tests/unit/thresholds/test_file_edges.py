"""thresholds.yaml at the edges of what is allowed, and what it says where nothing is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bounds import read
from support.thresholds_files import COMPLETE, cell, written

from robustness.errors import UsageError
from robustness.evalset import POLICIES
from robustness.perturbation.occlusion import PATTERNS
from robustness.thresholds import ALPHA, MARGIN, NON_INFERIORITY_ALPHA, Bound, Regression, load


def with_lines(tmp_path, *lines):
    """The complete file with more lines of its own."""
    return load(written(tmp_path, "\n".join([*lines, COMPLETE])))


def refused(tmp_path, *lines):
    with pytest.raises(UsageError) as caught:
        with_lines(tmp_path, *lines)
    return str(caught.value)


# --- regression, update, properties, occlusion --------------------------------------------


def test_what_the_file_does_not_say(tmp_path):
    thresholds = with_lines(tmp_path)
    assert thresholds.path == tmp_path / "thresholds.yaml"
    assert thresholds.evalset == "phantom:64"
    assert thresholds.patterns == ("square", "grid")
    assert thresholds.fills == ("black", "grey")
    assert thresholds.regression == Regression()
    assert thresholds.slack == 0.01
    phantom, other = thresholds.models.values()
    assert (phantom.name, phantom.loader) == ("phantom", "robustness.models.phantom:load")
    assert (phantom.optional, phantom.on_request, phantom.options) == (False, False, {})
    assert (other.name, other.on_request) == ("other", False)
    properties = thresholds.properties
    assert (properties.max_level, properties.subset, properties.examples) == (0.5, 64, 20)
    assert (properties.noise, properties.tolerance) == (0.1, 1e-4)


def test_what_the_file_says_is_what_is_meant(tmp_path):
    text = COMPLETE.replace("levels: [0, 0.3, 0.1]", "levels: [0, 0.3, 0.1]\n  seed: 7")
    text = text.replace("options: {", "on_request: true\n    options: {")
    text += "  max_level: 0.4\n  subset: 32\n  examples: 3\n  noise: 0.2\n  tolerance: 0.01\n"
    text += "positives: study\nupdate: {slack: 0.03}\n"
    text += "regression: {mode: non_inferiority, metric: hit@5, margin: 0.02, alpha: 0.1}\n"
    thresholds = load(written(tmp_path, text))
    assert thresholds.seed == 7
    assert thresholds.positives == "study"
    assert thresholds.slack == 0.03
    assert thresholds.regression == Regression("non_inferiority", "hit@5", 0.02, 0.1)
    assert thresholds.regression.family_alpha == 0.1
    assert thresholds.models["other"].on_request
    properties = thresholds.properties
    assert (properties.max_level, properties.subset, properties.examples) == (0.4, 32, 3)
    assert (properties.noise, properties.tolerance) == (0.2, 0.01)


def test_each_mode_has_a_level_of_its_own():
    assert Regression().family_alpha == ALPHA
    assert Regression(mode="non_inferiority").family_alpha == NON_INFERIORITY_ALPHA
    assert Regression().margin == MARGIN


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("regression: {alpha: 0}", "alpha is 0; it must be above 0 and below 0.5"),
        ("regression: {alpha: 0.5}", "alpha is 0.5; it must be above 0 and below 0.5"),
        ("regression: {alpha: 1.5}", "alpha is 1.5; it must be above 0 and below 0.5"),
        ("regression: {alpha: -0.1}", "alpha is -0.1; it must be above 0 and below 0.5"),
        ("regression: {margin: -0.1}", "margin is -0.1; it must be at least 0 and below 1"),
        ("update: {slack: 1.1}", ": update.slack is 1.1; it must be at least 0 and at most 1"),
        ("update: {slack: -0.1}", ": update.slack is -0.1; it must be at least 0 and at most 1"),
        ("update: {}", "key 'slack' is missing in update; required: slack"),
        ("update: {slacks: 0}", "unknown key 'slacks' in update; allowed: slack; did you"),
        ("positives: any", "unknown policy of positives 'any'; allowed: identical_text"),
    ],
)
def test_numbers_out_of_range(tmp_path, line, message):
    text = refused(tmp_path, line)
    assert message in text
    assert text.startswith(f"{tmp_path / 'thresholds.yaml'}:1:")


@pytest.mark.parametrize(
    "line",
    [
        "regression: {alpha: 0.499}",
        "regression: {alpha: 1.0e-9}",
        "regression: {margin: 0}",
        "update: {slack: 0}",
        "update: {slack: 1}",
    ],
)
def test_numbers_that_are_just_allowed(tmp_path, line):
    name, _, value = line.partition("{")[2].rstrip("}").partition(": ")
    thresholds = with_lines(tmp_path, line)
    found = thresholds.slack if name == "slack" else getattr(thresholds.regression, name)
    assert found == float(value)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("evalset: phantom:64", "evalset: {a: 1}", "evalset must be text, not a mapping"),
        ("evalset: phantom:64", "evalset: [a]", "evalset must be text, not a list"),
        ("evalset: phantom:64", "evalset: 64", "evalset must be text, not '64'"),
        ("version: 1", "version: true", "version must be a whole number, not 'true'"),
        ("version: 1", "version: 1.0", "version must be a whole number, not '1.0'"),
        ("[0, 0.3, 0.1]", "[0, true]", "levels[1] must be a number, not 'true'"),
        ("[black, grey]", "[black, gray]", "unknown fill 'gray'; allowed: black, grey; did you"),
        ("evalset:", "1:", "a key of the file must be text, not '1'"),
        ("evalset:", "<<: {a: 1}\nevalset:", "a key of the file must be text, not '<<'"),
        ("evalset: phantom:64", "evalset: !set x", "evalset must be text, not 'x'"),
        ("version: 1", "version: !!int x", "version must be a whole number, not 'x'"),
        ("evalset: phantom:64", "evalset: 2026-02-30", "evalset must be text, not '2026-02-30'"),
        ("optional: true", "optional: 1", "optional must be true or false, not '1'"),
        ("small, scale", "[1], scale", "options.variant must be text, a number, true or false"),
        (
            "  levels: [0, 0.3, 0.1]",
            "  levels: [0, -0.1]",
            "levels[1] is -0.1; it must be at least 0 and at most 1; a level",
        ),
        ("  levels: [0, 0.3, 0.1]", "  levels: [0, 0.3, 0.3]", "duplicate 0.3 in occlusion.levels"),
        (
            "  levels: [0, 0.3, 0.1]",
            "  levels: [0]\n  seed: -1",
            "seed is -1; it must be at least 0",
        ),
    ],
)
def test_values_of_another_kind(tmp_path, before, after, message):
    assert before in COMPLETE
    with pytest.raises(UsageError) as caught:
        load(written(tmp_path, COMPLETE.replace(before, after, 1)))
    assert message in str(caught.value)


def test_the_whole_image_may_be_hidden_and_ranks_may_be_bound(tmp_path):
    text = COMPLETE.replace("[0, 0.3, 0.1]", "[0, 0.3, 0.1, 1]")
    text = text.replace("  bound: hit@10 >= 0.2", "  bound: median_rank <= 9\n  max_level: 1")
    thresholds = load(written(tmp_path, text))
    assert thresholds.levels == (0, 0.1, 0.3, 1)
    assert thresholds.properties.max_level == 1
    assert str(thresholds.properties.bound) == "median_rank <= 9"


def test_models_may_not_be_none(tmp_path):
    start, end = COMPLETE.index("models:"), COMPLETE.index("occlusion:")
    with pytest.raises(UsageError, match="models is empty; name at least one"):
        load(written(tmp_path, f"{COMPLETE[:start]}models: {{}}\n{COMPLETE[end:]}"))


def test_the_home_folder_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    path = written(tmp_path, COMPLETE.replace("weights/other.pt", "~/other.pt"))
    assert load(path).models["other"].weights == Path("/somewhere/other.pt")


@pytest.mark.parametrize(
    ("before", "after", "code", "what", "words"),
    [
        ("[square, grid]", "[zzz]", "unknown_pattern", "pattern", PATTERNS),
        ("version:", "positives: zzz\nversion:", "unknown_policy", "policy of positives", POLICIES),
    ],
)
def test_no_word_is_guessed_where_none_is_near(tmp_path, before, after, code, what, words):
    with pytest.raises(UsageError) as caught:
        load(written(tmp_path, COMPLETE.replace(before, after, 1)))
    assert str(caught.value).endswith(f": unknown {what} 'zzz'; allowed: {', '.join(words)}")
    assert caught.value.code == code


# --- rules -------------------------------------------------------------------------------


def test_a_rule_may_name_one_value_or_several_of_everything(tmp_path):
    everything = (
        "  - {model: [phantom, other], pattern: grid, fill: [grey], level: 0.1, evalset: phantom,"
        " direction: [report_to_image], require: [mrr >= 0.3, rsum >= 1]}\n"
    )
    text = COMPLETE.replace("properties:", f"{everything}properties:")
    thresholds = load(written(tmp_path, text))
    rule = thresholds.rules[-1]
    assert rule.selectors == {
        "model": {"phantom", "other"},
        "pattern": {"grid"},
        "fill": {"grey"},
        "level": {0.1},
        "evalset": {"phantom"},
        "direction": {"report_to_image"},
    }
    assert rule.line == 19
    mine = Bound("mrr", at_least=True, limit=0.3, line=0)
    assert mine in thresholds.bounds(cell(direction="report_to_image"), "phantom")
    for elsewhere in (
        {"pattern": "square"},
        {"fill": "black"},
        {"level": 0.3},
        {"direction": "image_to_report"},
    ):
        there = cell(**({"direction": "report_to_image"} | elsewhere))
        assert mine not in thresholds.bounds(there, "phantom")
    assert mine not in thresholds.bounds(cell(direction="report_to_image"), "open_i")


def test_a_rule_that_decides_elsewhere_alone_is_used(tmp_path):
    """The file's own set is a phantom; a rule may speak of another set."""
    unused = "  - {evalset: open_i, model: other, level: 0, require: [mrr >= 0.3]}\n"
    thresholds = load(written(tmp_path, COMPLETE.replace("properties:", f"{unused}properties:")))
    there = cell(model="other", level=0)
    assert "mrr >= 0.3" in {str(bound) for bound in thresholds.bounds(there, "open_i")}
    assert "mrr >= 0.3" not in {str(bound) for bound in thresholds.bounds(there, "phantom")}


# --- bounds ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("hit@10 >= 0", Bound("hit@10", True, 0, 8)),
        ("hit@10 <= 1", Bound("hit@10", False, 1, 8)),
        ("median_rank >= 1", Bound("median_rank", True, 1, 8)),
        ("rsum <= 6", Bound("rsum", False, 6, 8)),
        ("retention(rsum) <= 1", Bound("retention(rsum)", False, 1, 8)),
        ("hit@10 >= 0 * chance", Bound("hit@10", True, 0, 8, "chance", 0)),
        ("hit@10 >= chance + 1", Bound("hit@10", True, 1, 8, "chance")),
        ("hit@10 >= chance - 1", Bound("hit@10", True, -1, 8, "chance")),
        ("rsum >= clip - 6", Bound("rsum", True, -6, 8, "clip")),
        ("retention(rsum) >= clip + 1", Bound("retention(rsum)", True, 1, 8, "clip")),
        ("hit@10 no worse than clip by 1", Bound("hit@10", True, -1, 8, "clip")),
        ("hit@10 no worse than chance by 0", Bound("hit@10", True, 0, 8, "chance")),
        ("rsum no worse than clip by 6", Bound("rsum", True, -6, 8, "clip")),
        ("median_rank no worse than clip by 500", Bound("median_rank", False, 500, 8, "clip")),
        ("median_rank >= clip - 500", Bound("median_rank", True, -500, 8, "clip")),
    ],
)
def test_bounds_that_are_just_allowed(tmp_path, text, bound):
    (found,) = read(tmp_path, text)
    assert found == bound
    assert found.line == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hit@10 >= 1.001", "hit@10 is at least 0 and at most 1 (80 % is written 0.8)"),
        ("hit@10 >= -0.001", "hit@10 is at least 0 and at most 1 (80 % is written 0.8)"),
        ("rsum >= 6.5", "rsum is at least 0 and at most 6"),
        ("median_rank <= 0.5", "median_rank is at least 1 and finite"),
        (
            "retention(rsum) >= 1.5",
            "retention(rsum) is at least 0 and at most 1 (80 % is written 0.8)",
        ),
        ("hit@10 >= -1 * chance", "the factor is -1; it must be at least 0 and finite"),
        (
            "hit@10 >= chance - 1.5",
            (
                "the number added to chance is -1.5;"
                " it must be at least -1 and at most 1 (1 point is written 0.01)"
            ),
        ),
        ("rsum >= clip + 7", "the number added to clip is 7; it must be at least -6 and at most 6"),
        (
            "rsum no worse than clip by 7",
            "the number after 'by' is 7; it must be at least 0 and at most 6",
        ),
        (
            "retention(mrr) >= clip + 2",
            "is 2; it must be at least -1 and at most 1 (1 point is written 0.01)",
        ),
        (
            "retention(mrr) no worse than clip by 2",
            "it must be at least 0 and at most 1 (1 point is written 0.01)",
        ),
        (
            "retention(mrr) no worse than chance",
            "retention is already relative to chance; write a number or another model",
        ),
        (
            "hit@10 no worse than clip by inf",
            (
                "the number after 'by' is inf;"
                " it must be at least 0 and at most 1 (1 point is written 0.01)"
            ),
        ),
        (
            "median_rank no worse than clip by inf",
            "the number after 'by' is inf; it must be at least 0 and finite",
        ),
        (
            "hit@10 no worse than clip by nan",
            (
                "the number after 'by' is nan;"
                " it must be at least 0 and at most 1 (1 point is written 0.01)"
            ),
        ),
        ("hit@10 >= infinity", "hit@10 is at least 0 and at most 1 (80 % is written 0.8)"),
        ("median_rank <= Inf", "median_rank is at least 1 and finite"),
    ],
)
def test_bounds_that_are_just_not_allowed(tmp_path, text, message):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert f"bound {text!r}: " in str(caught.value)
    assert str(caught.value).endswith(message)
