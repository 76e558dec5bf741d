"""schema.json: valid, in step with the code, and read as the jsonschema library reads it."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from support.gate_repository import THRESHOLDS
from support.thresholds_files import CARELESS, COMPLETE

from robustness.evalset import KINDS, POLICIES
from robustness.metrics import MEANS, RANGES
from robustness.perturbation.occlusion import FILLS, PATTERNS
from robustness.thresholds import DIRECTIONS, REGRESSION_METRICS, Regression, schema
from robustness.thresholds._values import MODES, SLACK

REPOSITORY = Path(__file__).parents[3]
BEYOND = (
    "duplicate key 'phantom'",  # PyYAML takes the last of two keys
    "unknown level '0.2'",
    "unknown model 'fantom'",
    "unknown limit 'lots'",
    "hit@10 is at least 0 and at most 1",
    "median_rank is at least 1 and finite",
    "did you mean 'phantom'?",
    "unknown evaluation set",
    "levels[1] is nan",
)
"""Errors that a schema cannot express: they depend on another part of the file."""


def errors(text):
    validator = jsonschema.Draft202012Validator(schema())
    return [error.message for error in validator.iter_errors(yaml.safe_load(text))]


def test_the_words_and_defaults_are_those_of_the_code():
    top = schema()["properties"]
    occlusion, properties = (top[key]["properties"] for key in ("occlusion", "properties"))
    rule = schema()["$defs"]["rule"]["properties"]
    for part, words in (
        (occlusion["patterns"]["items"], PATTERNS),
        (occlusion["fills"]["items"], FILLS),
        (top["positives"], POLICIES),
        (top["regression"]["properties"]["mode"], MODES),
        (top["regression"]["properties"]["metric"], REGRESSION_METRICS),
        (rule["pattern"]["anyOf"][0], PATTERNS),
        (rule["fill"]["anyOf"][0], FILLS),
        (rule["evalset"]["anyOf"][0], KINDS),
        (rule["direction"]["anyOf"][0], DIRECTIONS),
    ):
        assert part["enum"] == list(words)
    assert top["evalset"]["pattern"] == f"^({'|'.join(KINDS)}):"
    assert top["evalset"]["description"].endswith("; ".join(KINDS.values()))
    assert top["positives"]["default"] == POLICIES[0]
    assert top["regression"]["properties"]["mode"]["default"] == Regression().mode
    assert top["regression"]["properties"]["metric"]["default"] == Regression().metric
    assert top["update"]["properties"]["slack"]["default"] == SLACK
    for bound, metrics in (
        (schema()["$defs"]["bound"], RANGES),
        (properties["bound"], (*MEANS, "median_rank")),
    ):
        names = re.match(r"\^\\s\*\((.*?)\)\\s\*", bound["pattern"])[1]
        assert set(re.sub(r"\\(.)", r"\1", names).split("|")) == set(metrics)


def test_the_reader_supports_every_keyword_of_the_schema():
    supported = {"$ref", "additionalProperties", "anyOf", "const", "contains", "enum"}
    supported |= {"exclusiveMaximum", "exclusiveMinimum", "format", "items", "maximum", "minimum"}
    supported |= {"minItems", "minProperties", "pattern", "properties", "propertyNames"}
    supported |= {"required", "type", "uniqueItems"}
    annotations = {"$schema", "$defs", "title", "description", "default"}
    annotations |= {"errorMessage", "patternErrorMessage"}

    def check(part):
        assert set(part) <= supported | annotations
        for key in ("properties", "$defs"):
            for each in part.get(key, {}).values():
                check(each)
        for key in ("items", "propertyNames", "additionalProperties", "contains"):
            if isinstance(part.get(key), dict):
                check(part[key])
        for one, *many in [part["anyOf"]] if "anyOf" in part else []:
            assert many == [{"type": "array", "minItems": 1, "items": one}]
            check(one)
        if part.get("type") == "array":
            assert part["minItems"] == 1

    check(schema())


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize(
    "text",
    [COMPLETE, THRESHOLDS, (REPOSITORY / "thresholds.yaml").read_text(encoding="utf-8")],
)
def test_files_that_the_reader_accepts_are_valid(text):
    assert not errors(text)


@pytest.mark.parametrize(("before", "after", "line", "message"), CARELESS)
def test_files_that_the_reader_rejects_are_invalid(before, after, line, message):
    text = COMPLETE.replace(before, after, 1)
    if "invalid YAML" in message:
        with pytest.raises(yaml.YAMLError):
            errors(text)
    elif any(beyond in message for beyond in BEYOND):
        assert isinstance(yaml.safe_load(text), dict)
    else:
        assert errors(text), message


@pytest.mark.parametrize("metric", RANGES)
@pytest.mark.parametrize("demand", [">= 0.5", "<= 2 * chance", "no worse than clip by 0.1"])
def test_every_metric_may_be_bounded(metric, demand):
    assert not errors(THRESHOLDS.replace("hit@10 >= 0.5", f"{metric} {demand}"))


@pytest.mark.parametrize(
    "text", ["hit@10 > 0.5", "hit@11 >= 0.5", "hit@10 >= ", "hit@10 >= 50%", "hit@10 worse 3"]
)
def test_no_other_form_of_bound_is_valid(text):
    assert errors(THRESHOLDS.replace("hit@10 >= 0.5", text))
