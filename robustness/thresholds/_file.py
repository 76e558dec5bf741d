"""``thresholds.yaml`` read into frozen objects; an error names the file and the line."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from robustness.errors import UsageError
from robustness.evalset import KINDS, POLICIES, check_spec, resolve_spec
from robustness.metrics import MEANS
from robustness.perturbation.occlusion import FILLS, PATTERNS
from robustness.thresholds._bounds import OUT_OF_RANGE, read_bound
from robustness.thresholds._schema import LOADER, MODEL_NAME, VERSION
from robustness.thresholds._values import (
    CHANCE,
    DIRECTIONS,
    MODES,
    REGRESSION_METRICS,
    SLACK,
    ModelEntry,
    Properties,
    Regression,
    Rule,
    Thresholds,
    all_cells,
)
from robustness.thresholds._yaml import Node, read


def load(path: Path, *, overridden: bool = False) -> Thresholds:
    """Reads a thresholds file.

    Args:
        path: The file.
        overridden: Whether another evaluation set is measured than the file's, which then
            need not be there.

    Raises:
        UsageError: The file is missing or malformed; one line with the file, the line,
            what is wrong and what is allowed.
    """
    root = read(path)
    entries = _entries(
        root,
        required=("version", "evalset", "models", "occlusion", "bounds", "properties"),
        optional=("positives", "regression", "update"),
    )
    version = entries["version"].whole()
    if version != VERSION:
        raise entries["version"].error(f"version {version} is unknown; this is version {VERSION}")
    models = {name: _model(name, node) for name, node in entries["models"].mapping().items()}
    if not models:
        raise entries["models"].error("models is empty; name at least one")
    occlusion = _entries(
        entries["occlusion"], required=("patterns", "fills", "levels"), optional=("seed",)
    )
    thresholds = Thresholds(
        path=path,
        evalset=entries["evalset"].text() if overridden else _spec(entries["evalset"]),
        positives=_word(entries["positives"], "policy of positives", POLICIES)
        if "positives" in entries
        else POLICIES[0],
        models=models,
        patterns=_words(occlusion["patterns"], "pattern", tuple(PATTERNS)),
        fills=_words(occlusion["fills"], "fill", tuple(FILLS)),
        levels=_levels(occlusion["levels"]),
        seed=_whole(occlusion["seed"], 0) if "seed" in occlusion else 0,
        rules=(),
        properties=_properties(entries["properties"]),
        regression=_regression(entries["regression"]) if "regression" in entries else Regression(),
        slack=_slack(entries["update"]) if "update" in entries else SLACK,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    return _with_rules(thresholds, entries["bounds"])


def _entries(
    node: Node, *, required: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, Node]:
    entries = node.mapping((*required, *optional))
    for key in required:
        if key not in entries:
            raise node.error(
                f"key {key!r} is missing in {node.name}; it needs {', '.join(required)}",
                "missing_key",
            )
    return entries


def _spec(node: Node) -> str:
    spec = node.text()
    try:
        check_spec(resolve_spec(spec, node.path.parent))
    except UsageError as error:
        raise node.error(str(error), error.code) from error
    return spec


def _word(node: Node, what: str, allowed: tuple[str, ...]) -> str:
    text = node.text()
    if text not in allowed:
        raise node.unknown(what, text, allowed)
    return text


def _words(node: Node, what: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    return _unique(node, lambda item: _word(item, what, allowed))


def _unique(node: Node, parse: Callable[[Node], Any]) -> tuple[Any, ...]:
    values: list[Any] = []
    for item in node.sequence():
        value = parse(item)
        if value in values:
            raise item.error(f"{value!r} stands twice in {node.name}", "duplicate_entry")
        values.append(value)
    return tuple(values)


def _whole(node: Node, low: int) -> int:
    value = node.whole()
    if value < low:
        raise node.error(f"{node.name} is {value}; allowed is {low} and up", OUT_OF_RANGE)
    return value


def _share(node: Node) -> float:
    value = node.number()
    if not 0 <= value <= 1:
        raise node.error(f"{node.name} is {value:g}; allowed is 0 to 1", OUT_OF_RANGE)
    return value


def _level(node: Node) -> float:
    level = node.number()
    if not 0 <= level <= 1:
        raise node.error(
            f"level {level:g} is outside 0 to 1; it is the hidden share of the image's area,"
            " so 30 % is written 0.3",
            OUT_OF_RANGE,
        )
    return level


def _levels(node: Node) -> tuple[float, ...]:
    levels = sorted(_unique(node, _level))
    if levels[0] != 0:
        raise node.error(
            f"{node.name} lacks level 0, the clean images that retention is measured against",
            "clean_level_missing",
        )
    return tuple(levels)


def _model(name: str, node: Node) -> ModelEntry:
    if not re.fullmatch(MODEL_NAME, name) or name == CHANCE:
        raise node.error(
            f"model name {name!r} may hold letters, digits, '_' and '.' alone, and is not"
            f" {CHANCE!r}"
        )
    entries = _entries(
        node, required=("loader",), optional=("weights", "optional", "on_request", "options")
    )
    loader = entries["loader"].text()
    if not re.fullmatch(LOADER, loader):
        raise entries["loader"].error(
            f"loader {loader!r} is no importable name; write package.module:function,"
            " such as models.phantom:load",
            "loader_unusable",
        )
    weights = Path(entries["weights"].text()).expanduser() if "weights" in entries else None
    options = entries["options"].mapping() if "options" in entries else {}
    return ModelEntry(
        name=name,
        loader=loader,
        weights=(node.path.parent / weights).absolute() if weights else None,
        optional="optional" in entries and entries["optional"].flag(),
        on_request="on_request" in entries and entries["on_request"].flag(),
        options={key: _option(value) for key, value in options.items()},
    )


def _option(node: Node) -> str | float | bool:
    for read_as in (node.flag, node.whole, node.number, node.text):
        with suppress(UsageError):
            return read_as()
    raise node.error(f"{node.name} is text, a number, true or false")


_PROPERTIES: dict[str, Callable[[Node], Any]] = {
    "max_level": _level,
    "subset": lambda node: _whole(node, 2),
    "examples": lambda node: _whole(node, 1),
    "noise": _share,
    "tolerance": _share,
}


def _properties(node: Node) -> Properties:
    entries = _entries(node, required=("bound",), optional=tuple(_PROPERTIES))
    given = {key: parse(entries[key]) for key, parse in _PROPERTIES.items() if key in entries}
    return Properties(bound=read_bound(entries["bound"], (*MEANS, "median_rank")), **given)


def _slack(node: Node) -> float:
    return _share(_entries(node, required=("slack",), optional=())["slack"])


def _level_of_error(node: Node) -> float:
    alpha = node.number()
    if not 0 < alpha < 0.5:  # noqa: PLR2004 - an error that is likelier than not
        raise node.error(f"{node.name} is {alpha:g}; allowed is above 0, below 0.5", OUT_OF_RANGE)
    return alpha


def _margin(node: Node) -> float:
    margin = node.number()
    if not 0 <= margin < 1:
        raise node.error(
            f"{node.name} is {margin:g}; allowed is 0 to below 1, and 1 point is written 0.01",
            OUT_OF_RANGE,
        )
    return margin


_REGRESSION: dict[str, Callable[[Node], Any]] = {
    "mode": lambda node: _word(node, "mode", MODES),
    "metric": lambda node: _word(node, "metric", REGRESSION_METRICS),
    "margin": _margin,
    "alpha": _level_of_error,
}


def _regression(node: Node) -> Regression:
    entries = node.mapping(_REGRESSION)
    return Regression(**{key: _REGRESSION[key](value) for key, value in entries.items()})


def _with_rules(thresholds: Thresholds, node: Node) -> Thresholds:
    complete = replace(thresholds, rules=tuple(_rule(item, thresholds) for item in node.sequence()))
    _require_used(complete, node)
    return complete


def _rule(node: Node, thresholds: Thresholds) -> Rule:
    allowed: dict[str, tuple[str | float, ...]] = {
        "model": tuple(thresholds.models),
        "pattern": thresholds.patterns,
        "fill": thresholds.fills,
        "level": thresholds.levels,
        "direction": DIRECTIONS,
        "evalset": tuple(KINDS),
    }
    entries = node.mapping((*allowed, "require"))
    if "require" not in entries:
        raise node.error(
            "key 'require' is missing in a rule of bounds; list what it requires", "missing_key"
        )
    selectors: dict[str, frozenset[str | float]] = {}
    for name, values in allowed.items():
        if name in entries:
            selectors[name] = frozenset(
                _selected(item, name, values) for item in entries[name].items()
            )
    models = tuple(thresholds.models)
    bounds = tuple(read_bound(item, models=models) for item in entries["require"].items())
    return Rule(selectors, bounds, node.line)


def _selected(node: Node, name: str, allowed: tuple[str | float, ...]) -> str | float:
    value: str | float = _level(node) if name == "level" else node.text()
    if value not in allowed:
        text = f"{value:g}" if isinstance(value, float) else value
        raise node.unknown(name, text, [f"{v:g}" if isinstance(v, float) else v for v in allowed])
    return value


def _require_used(thresholds: Thresholds, node: Node) -> None:
    """A bound that decides nothing looks like a guard and is none."""
    deciding = {
        id(bound)
        for cell in all_cells(thresholds)
        for kind in KINDS
        for bound in thresholds.bounds(cell, kind)
    }
    for rule, item in zip(thresholds.rules, node.sequence(), strict=True):
        for bound in rule.bounds:
            if id(bound) not in deciding:
                raise item.error(
                    f"bound {str(bound)!r} on line {bound.line} is not used: wherever it applies"
                    " later rules replace it, or it holds a model against itself; remove it",
                    "unused_bound",
                )
