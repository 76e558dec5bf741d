"""The JSON Schema of ``thresholds.yaml``, made of what the reader itself allows."""

from __future__ import annotations

from typing import Any

from robustness.evalset import KINDS, POLICIES
from robustness.metrics import MEANS, PRIMARY_METRIC, RANGES
from robustness.perturbation.occlusion import FILLS, PATTERNS
from robustness.thresholds._bounds import LIMIT, NAME, NUMBER
from robustness.thresholds._values import DIRECTIONS, MODES, REGRESSION_METRICS, SLACK

Schema = dict[str, Any]

VERSION = 1
"""The version of the file's form."""

MODEL_NAME = "^[A-Za-z0-9_.]+$"
LOADER = r"^[\w.]+:\w+$"


def schema() -> Schema:
    """The schema, draft 2020-12, as JSON values.

    It says what an editor can check and complete: keys, types, words and the form of a
    bound. What depends on another part of the file (whether a rule's model is one of
    ``models``, whether a bound decides anything) the reader alone can say.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "thresholds.yaml of the robustness gate",
        "description": "What is measured, and what is required of it.",
        "$defs": {"bound": _bound(tuple(RANGES)), "level": _number(0, 1)},
        **_object(
            {
                "version": {"const": VERSION},
                "evalset": {
                    "type": "string",
                    "description": "What is measured on, paths from this file's folder:"
                    f" {'; '.join(KINDS.values())}",
                    "pattern": f"^({'|'.join(KINDS)}):",
                },
                "positives": {
                    "enum": list(POLICIES),
                    "default": POLICIES[0],
                    "description": "Which reports are right for an image.",
                },
                "models": _models(),
                "occlusion": _occlusion(),
                "bounds": {"type": "array", "minItems": 1, "items": _rule()},
                "regression": _regression(),
                "update": _object({"slack": _number(0, 1, default=SLACK)}, required=("slack",)),
                "properties": _properties(),
            },
            required=("version", "evalset", "models", "occlusion", "bounds", "properties"),
        ),
    }


def _object(properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _number(low: float, high: float, **more: Any) -> Schema:
    return {"type": "number", "minimum": low, "maximum": high, **more}


def _one_or_more(item: Schema) -> Schema:
    return {"anyOf": [item, {"type": "array", "minItems": 1, "items": item}]}


def _list(item: Schema, **more: Any) -> Schema:
    return {"type": "array", "minItems": 1, "uniqueItems": True, "items": item, **more}


def _bound(metrics: tuple[str, ...], *, number_only: bool = False) -> Schema:
    names = "|".join(
        name.replace("(", r"\(").replace(")", r"\)") for name in sorted(metrics, reverse=True)
    )
    comparison = rf"[<>]=\s*{f'({NUMBER})' if number_only else LIMIT}"
    worse = rf"no\s+worse\s+than\s+{NAME}(?:\s+by\s+{NUMBER})?"
    form = comparison if number_only else rf"(?:{comparison}|{worse})"
    return {
        "type": "string",
        "pattern": rf"^\s*({names})\s*{form}\s*$",
        "description": "METRIC >= LIMIT or METRIC <= LIMIT; the limit is a number"
        + ("." if number_only else ", 3 * chance, another model, or that model - 0.02."),
    }


def _models() -> Schema:
    entry = _object(
        {
            "loader": {
                "type": "string",
                "pattern": LOADER,
                "description": "package.module:function",
            },
            "weights": {"type": "string", "description": "A checkpoint, from this file's folder."},
            "optional": {
                "type": "boolean",
                "default": False,
                "description": "Skipped, and counted, where the weights are absent.",
            },
            "on_request": {
                "type": "boolean",
                "default": False,
                "description": "Measured only where --robustness-models names it.",
            },
            "options": {
                "type": "object",
                "description": "Passed on to the loader.",
                "additionalProperties": {"type": ["string", "number", "boolean"]},
            },
        },
        required=("loader",),
    )
    return {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": MODEL_NAME, "not": {"const": "chance"}},
        "additionalProperties": entry,
    }


def _occlusion() -> Schema:
    return _object(
        {
            "patterns": _list({"enum": list(PATTERNS)}),
            "fills": _list({"enum": list(FILLS)}),
            "levels": _list(
                {"$ref": "#/$defs/level"},
                contains={"const": 0},
                description="Hidden shares of the image's area; 0 is the clean image.",
            ),
            "seed": {"type": "integer", "minimum": 0, "default": 0},
        },
        required=("patterns", "fills", "levels"),
    )


def _rule() -> Schema:
    words: dict[str, Schema] = {
        "model": {"type": "string"},
        "evalset": {"enum": list(KINDS)},
        "pattern": {"enum": list(PATTERNS)},
        "fill": {"enum": list(FILLS)},
        "level": {"$ref": "#/$defs/level"},
        "direction": {"enum": list(DIRECTIONS)},
    }
    selectors = {name: _one_or_more(item) for name, item in words.items()}
    return _object(
        selectors | {"require": _one_or_more({"$ref": "#/$defs/bound"})}, required=("require",)
    )


def _regression() -> Schema:
    return _object(
        {
            "mode": {
                "enum": list(MODES),
                "default": MODES[0],
                "description": "regression fails where a drop is shown; non_inferiority passes"
                " only where a drop beyond the margin is excluded.",
            },
            "metric": {"enum": list(REGRESSION_METRICS), "default": PRIMARY_METRIC},
            "margin": {
                "type": "number",
                "minimum": 0,
                "exclusiveMaximum": 1,
                "description": "The drop that is tolerated; 1 point is 0.01.",
            },
            "alpha": {
                "type": "number",
                "exclusiveMinimum": 0,
                "exclusiveMaximum": 0.5,
                "description": "The family-wise error level over all the cases of a run.",
            },
        }
    )


def _properties() -> Schema:
    return _object(
        {
            "bound": _bound((*MEANS, "median_rank"), number_only=True),
            "max_level": {"$ref": "#/$defs/level"},
            "subset": {"type": "integer", "minimum": 2},
            "examples": {"type": "integer", "minimum": 1},
            "noise": _number(0, 1),
            "tolerance": _number(0, 1),
        },
        required=("bound",),
    )
