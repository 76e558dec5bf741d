"""Shared by the tests of thresholds files."""

from __future__ import annotations

from pathlib import Path

from robustness.thresholds import MeasurementKey

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
