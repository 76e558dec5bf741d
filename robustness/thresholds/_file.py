"""Reader of ``thresholds.yaml``: a YAML file to frozen objects; errors name the line."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from robustness.errors import Code, UsageError
from robustness.evalset import KINDS, POLICIES, check_spec, resolve_spec
from robustness.metrics import MEANS
from robustness.thresholds._bounds import read_bound
from robustness.thresholds._schema import Schema, schema, validate
from robustness.thresholds._values import (
    SLACK,
    ModelEntry,
    Properties,
    Regression,
    Rule,
    Thresholds,
    all_measurements,
)
from robustness.thresholds._yaml import Node, read


def load(path: Path, *, overridden: bool = False) -> Thresholds:
    """Read a thresholds file.

    Args:
        path: The file.
        overridden: Whether the command line replaces the file's evaluation set, which then need
            not exist.

    Raises:
        UsageError: The file is missing or invalid; one line with the file, the line, what is
            wrong and what is allowed.
    """
    # Rules are validated below, against what the file declares.
    without_rules = schema() | {"properties": schema()["properties"] | {"bounds": {}}}
    data = validate(read(path), without_rules)
    occlusion, properties = data["occlusion"], data["properties"]
    bound = read_bound(properties.pop("bound"), (*MEANS, "median_rank"))
    thresholds = Thresholds(
        path=path,
        evalset=data["evalset"].text() if overridden else _check_evalset(data["evalset"]),
        positives=data.get("positives", POLICIES[0]),
        models={name: _model(path, name, **entry) for name, entry in data["models"].items()},
        patterns=tuple(occlusion["patterns"]),
        fills=tuple(occlusion["fills"]),
        levels=tuple(sorted(occlusion["levels"])),
        seed=occlusion.get("seed", 0),
        rules=(),
        properties=Properties(bound=bound, **properties),
        regression=Regression(**data.get("regression", {})),
        slack=data.get("update", {}).get("slack", SLACK),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    rule_schema = _declared_rule_schema(thresholds)
    nodes = data["bounds"].sequence()
    rules = tuple(_rule(node, rule_schema, tuple(thresholds.models)) for node in nodes)
    thresholds = replace(thresholds, rules=rules)
    _check_bounds_apply(thresholds, nodes)
    return thresholds


def _check_evalset(node: Node) -> str:
    spec = node.text()
    try:
        check_spec(resolve_spec(spec, node.path.parent))
    except UsageError as error:
        raise node.error(str(error), error.code) from error
    return spec


def _model(path: Path, name: str, *, weights: str | None = None, **entry: Any) -> ModelEntry:
    if weights is not None:
        entry["weights"] = (path.parent / Path(weights).expanduser()).absolute()
    return ModelEntry(name=name, **entry)


def _declared_rule_schema(thresholds: Thresholds) -> Schema:
    """Return the schema of a rule whose selectors may only name what the file declares."""
    rule: Schema = schema()["$defs"]["rule"]
    declared: dict[str, tuple[str, Sequence[str | float]]] = {
        "model": ("string", tuple(thresholds.models)),
        "pattern": ("string", thresholds.patterns),
        "fill": ("string", thresholds.fills),
        "level": ("number", thresholds.levels),
    }
    selectors = {
        name: {"anyOf": [{"title": name, "type": kind, "enum": values}]}
        for name, (kind, values) in declared.items()
    }
    return rule | {"properties": rule["properties"] | selectors}


def _rule(node: Node, rule_schema: Schema, models: tuple[str, ...]) -> Rule:
    entries = validate(node, rule_schema)
    bounds = tuple(read_bound(item, models=models) for item in entries.pop("require"))
    selectors = {name: frozenset(values) for name, values in entries.items()}
    return Rule(selectors, bounds, node.line)


def _check_bounds_apply(thresholds: Thresholds, nodes: list[Node]) -> None:
    """Reject bounds that can never apply."""
    applied = {
        id(bound)
        for cell in all_measurements(thresholds)
        for kind in KINDS
        for bound in thresholds.bounds(cell, kind)
    }
    for rule, node in zip(thresholds.rules, nodes, strict=True):
        for bound in rule.bounds:
            if id(bound) not in applied:
                raise node.error(
                    f"bound {str(bound)!r} on line {bound.line} can never apply: later rules"
                    " replace it everywhere, or it compares a model with itself; remove it",
                    Code.UNUSED_BOUND,
                )
