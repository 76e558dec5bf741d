"""The published JSON Schema: it is the reader's own, and agrees with it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from gate_repository import THRESHOLDS
from test_thresholds import CARELESS, COMPLETE

from robustness import thresholds
from robustness.metrics import RANGES
from robustness.thresholds import schema

REPOSITORY = Path(__file__).parents[1]
PUBLISHED = Path(thresholds.__file__).parent / "schema.json"

BEYOND = (
    "stands twice in the file.models",  # YAML's own parser takes the last of two keys
    "unknown level '0.2'",
    "unknown model 'fantom'",
    "unknown limit 'lots'",
    "hit@10 is from 0 to 1",
    "median_rank is from 1 on",
    "did you mean 'phantom'?",
    "unknown evaluation set",
    "level nan is outside",
)
"""What a schema cannot say: it depends on another part of the file, or on a text's number."""


def errors(text):
    validator = jsonschema.Draft202012Validator(schema())
    return [error.message for error in validator.iter_errors(yaml.safe_load(text))]


def test_the_published_file_is_what_the_code_says():
    """Mend by: python -m robustness schema > robustness/thresholds/schema.json."""
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == schema()


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize(
    "text",
    [COMPLETE, THRESHOLDS, (REPOSITORY / "thresholds.yaml").read_text(encoding="utf-8")],
)
def test_what_the_reader_takes_is_valid(text):
    assert not errors(text)


@pytest.mark.parametrize(("before", "after", "line", "message"), CARELESS)
def test_what_the_reader_refuses_is_not_valid(before, after, line, message):
    text = COMPLETE.replace(before, after, 1)
    if "no YAML" in message:
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
