"""JSON Schema of ``thresholds.yaml``, and validation of YAML nodes against it.

``schema.json`` is the grammar of the file, for the reader and for editors. The validator supports
the keywords used there, and no others: the ``jsonschema`` library (version 4.26) would cost
0.15 s of CPU time in every process of a run.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from functools import cache
from operator import ge, gt, le, lt
from pathlib import Path
from typing import Any

from robustness.errors import Code, ThresholdsError
from robustness.thresholds._yaml import Node

Schema = dict[str, Any]

SCHEMA_FILE = Path(__file__).with_name("schema.json")

_LIMITS = {
    "minimum": ("at least", ge),
    "exclusiveMinimum": ("above", gt),
    "maximum": ("at most", le),
    "exclusiveMaximum": ("below", lt),
}
_SCALARS = {
    "boolean": Node.flag,
    "integer": Node.whole,
    "number": Node.number,
    "string": Node.text,
}
_PATTERN_CODES = {"loader": Code.LOADER_UNUSABLE}
"""Codes of values that do not match their pattern, by the schema's title."""


@cache
def schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of a thresholds file; not to be modified.

    It cannot express what depends on another part of the file, such as a rule's model being one
    of ``models``.

    Example:
        >>> schema()["required"]
        ['version', 'evalset', 'models', 'occlusion', 'bounds', 'properties']
    """
    contents: Schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return contents


def validate(node: Node, spec: Schema) -> Any:
    """Check a node against a schema and return its value.

    Text with a ``format``, and a value without any constraint, are returned as nodes: the caller
    parses them and can report their position. ``anyOf`` means one value or a list of such values,
    and returns a list.

    Raises:
        ThresholdsError: The value does not match; the message names the file, line and column.
    """
    if "$ref" in spec:
        spec = schema()["$defs"][spec["$ref"].rpartition("/")[2]]
    if "anyOf" in spec:
        return [validate(item, spec["anyOf"][0]) for item in node.items()]
    kind = spec.get("type")
    if kind is None:
        return node
    if kind == "object":
        return _validate_object(node, spec)
    if kind == "array":
        return _validate_array(node, spec)
    if isinstance(kind, list):
        for each in kind:
            with suppress(ThresholdsError):
                return _SCALARS[each](node)
        raise node.error(f"{node.name} must be text, a number, true or false", Code.WRONG_TYPE)
    value = _SCALARS[kind](node)
    _check_scalar(node, spec, value)
    return node if "format" in spec else value


def _validate_object(node: Node, spec: Schema) -> dict[str, Any]:
    properties, additional = spec.get("properties", {}), spec.get("additionalProperties")
    entries = node.mapping(None if additional else properties)
    required = spec.get("required", [])
    for key in required:
        if key not in entries:
            raise node.error(
                f"key {key!r} is missing in {node.name}; required: {', '.join(required)}",
                Code.MISSING_KEY,
            )
    if len(entries) < spec.get("minProperties", 0):
        raise node.error(f"{node.name} is empty; name at least one")
    if "propertyNames" in spec:
        for key_node in node.key_nodes():
            _check_scalar(key_node, spec["propertyNames"], key_node.text())
    return {key: validate(item, properties.get(key, additional)) for key, item in entries.items()}


def _validate_array(node: Node, spec: Schema) -> list[Any]:
    values: list[Any] = []
    for item in node.sequence():
        value = validate(item, spec["items"])
        if spec.get("uniqueItems") and value in values:
            raise item.error(f"duplicate {value!r} in {node.name}", Code.DUPLICATE_ENTRY)
        values.append(value)
    if "contains" in spec and spec["contains"]["const"] not in values:
        raise node.error(f"{node.name} lacks {spec['errorMessage']}", Code.CLEAN_LEVEL_MISSING)
    return values


def _check_scalar(node: Node, spec: Schema, value: Any) -> None:
    if "enum" in spec and value not in spec["enum"]:
        words = [f"{e:g}" if isinstance(e, float) else e for e in (value, *spec["enum"])]
        raise node.unknown(spec["title"], words[0], words[1:])
    if "const" in spec and value != spec["const"]:
        raise node.error(f"{node.name} is {value}; allowed is {spec['const']}")
    limits = [key for key in _LIMITS if key in spec]
    # NaN fails every comparison.
    if not all(_LIMITS[key][1](value, spec[key]) for key in limits):
        allowed = " and ".join(f"{_LIMITS[key][0]} {spec[key]:g}" for key in limits)
        hint = f"; {spec['errorMessage']}" if "errorMessage" in spec else ""
        raise node.error(f"{node.name} is {value:g}; it must be {allowed}{hint}", Code.OUT_OF_RANGE)
    # The parser of a format has better messages than its pattern.
    if "pattern" in spec and "format" not in spec and not re.fullmatch(spec["pattern"], value):
        raise node.error(
            f"{spec['title']} {value!r} is invalid; allowed: {spec['patternErrorMessage']}",
            _PATTERN_CODES.get(spec["title"]),
        )
