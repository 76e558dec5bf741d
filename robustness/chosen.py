"""Which models a run measures: names and loaders on the command line, with weights and options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

from robustness.errors import UsageError
from robustness.thresholds import ModelEntry, Thresholds

FAMILIES = "robustness.families"
"""The entry point group of loaders that load any model of a family, by ``family:name``."""


def select_models(thresholds: Thresholds, names: Sequence[str]) -> dict[str, ModelEntry]:
    """The models that are asked for: names in the file, or loaders.

    Args:
        thresholds: The thresholds file.
        names: Names in the file, loaders ``package.module:function``, or models of a family
            such as ``open_clip:ViT-B-16/laion2b_s34b_b88k``; none means every model in the
            file that is not ``on_request``.

    Raises:
        UsageError: A name is neither.
    """
    if not names:
        chosen = {n: entry for n, entry in thresholds.models.items() if not entry.on_request}
        if not chosen:
            raise UsageError(
                f"{thresholds.path}: every model is on_request; name one with"
                f" --robustness-models: {', '.join(thresholds.models)}"
            )
        return chosen
    return {name: _entry(thresholds, name) for name in names}


def _entry(thresholds: Thresholds, name: str) -> ModelEntry:
    if name in thresholds.models:
        return thresholds.models[name]
    prefix, colon, rest = name.partition(":")
    families = {family.name: family.value for family in entry_points(group=FAMILIES)}
    if colon and prefix in families:
        return ModelEntry(name=name, loader=families[prefix], options={"model": name})
    if colon and rest:
        return ModelEntry(name=name, loader=name)
    raise UsageError(
        f"unknown model {name!r} in --robustness-models; {thresholds.path} has"
        f" {', '.join(thresholds.models)}; any other is named by its loader,"
        f" package.module:function, or as {', '.join(f'{f}:NAME' for f in families)}",
        "unknown_model",
    )


def give_weights(
    models: dict[str, ModelEntry], assignments: Sequence[str]
) -> dict[str, ModelEntry]:
    """The models with their checkpoints from ``NAME=PATH`` texts; who names one wants it measured.

    Raises:
        UsageError: A text has another form, or names a model that is not under test.
    """
    given = dict(models)
    for assignment in assignments:
        name, equals, path = assignment.partition("=")
        if not (equals and path):
            raise UsageError(
                f"--robustness-weights {assignment!r} is not NAME=PATH, as phantom=weights.pt is"
            )
        _require_under_test(given, name, "--robustness-weights")
        given[name] = replace(given[name], weights=_whole(path), optional=False)
    return given


def _whole(path: str) -> Path:
    """A path that stays right where a test changes the folder."""
    return Path(path).expanduser().absolute()


def give_options(
    models: dict[str, ModelEntry], assignments: Sequence[str]
) -> dict[str, ModelEntry]:
    """The models with loader options from ``NAME:KEY=VALUE`` texts; values stay text.

    Raises:
        UsageError: A text has another form, or names a model that is not under test.
    """
    given = dict(models)
    for assignment in assignments:
        target, equals, value = assignment.partition("=")
        name, colon, key = target.rpartition(":")
        if not (equals and colon and key):
            raise UsageError(
                f"--robustness-option {assignment!r} is not NAME:KEY=VALUE, as"
                " cxr_clip:tokenizer=vocab.txt is"
            )
        _require_under_test(given, name, "--robustness-option")
        given[name] = replace(given[name], options=given[name].options | {key: value})
    return given


def _require_under_test(models: dict[str, ModelEntry], name: str, option: str) -> None:
    if name not in models:
        raise UsageError(
            f"{option} names model {name!r}, which is not under test;"
            f" under test: {', '.join(models)}"
        )
