"""Contents of a baseline, and checks that two runs are comparable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustness.errors import Code, UsageError
from robustness.metrics.rank_counts import RankCounts

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Key:
    """The perturbation and direction of one ranking."""

    pattern: str
    fill: str
    level: float
    direction: str


@dataclass(frozen=True)
class ModelRun:
    """Rankings of one model.

    Attributes:
        fingerprint: The encoder's fingerprint, a hash of its weights.
        measured_on: Identity of the queries: the fingerprint of the images and reports, and
            the model's text policy.
        patients: The patient of each of the N images.
        text_of_image: int64 ``[N]``, the text of each image; texts are the queries of
            ``report_to_image``.
        ranks: Rank counts by perturbation and direction.
    """

    fingerprint: str
    measured_on: Mapping[str, Any]
    patients: tuple[str, ...]
    text_of_image: Integers
    ranks: Mapping[Key, RankCounts] = field(repr=False)

    def queries(self, direction: str) -> int:
        """Return the number of queries of a direction."""
        if direction == "image_to_report":
            return len(self.patients)
        return int(self.text_of_image.max()) + 1 if len(self.text_of_image) else 0


@dataclass(frozen=True)
class Run:
    """Rank counts of a run with its protocol.

    Attributes:
        protocol: Settings shared by all models: evaluation set, policy of positives,
            occlusion scheme and seed.
        models: Rankings by model name.
        environment: Machine and package versions; not compared.
    """

    protocol: Mapping[str, Any]
    models: Mapping[str, ModelRun]
    environment: Mapping[str, Any] = field(default_factory=dict)


def differences(run: Run, baseline: Run, model: str) -> list[str]:
    """Return the reasons why a model's run cannot be compared with its baseline.

    Returns:
        One message per difference; empty if both measured the same queries under the same
        masks.
    """
    if model not in baseline.models:
        return [f"the baseline has no model {model!r}; it has {', '.join(baseline.models)}"]
    current, saved = run.models[model], baseline.models[model]
    messages = _differing_values(
        {**run.protocol, **current.measured_on}, {**baseline.protocol, **saved.measured_on}
    )
    specs = [each.environment.get("evalset") for each in (run, baseline)]
    if current.measured_on != saved.measured_on and specs[0] != specs[1]:
        messages.insert(0, f"the evaluation set is {specs[0]} here and {specs[1]} in the baseline")
    if not messages and current.patients != saved.patients:
        messages.append("the patients of the images differ")
    if not messages and not np.array_equal(current.text_of_image, saved.text_of_image):
        messages.append("the texts of the images differ")
    missing = [key for key in current.ranks if key not in saved.ranks]
    if missing:
        first = missing[0]
        messages.append(
            f"the baseline lacks {len(missing)} of {len(current.ranks)} rankings, such as"
            f" {first.pattern}, {first.fill}, level {first.level:g}"
        )
    return messages


def check_protocol(
    protocol: Mapping[str, Any], baseline_protocol: Mapping[str, Any], name: str
) -> None:
    """Check before a run that its protocol matches that of a baseline.

    Args:
        protocol: The protocol of the run.
        baseline_protocol: The protocol of the baseline.
        name: The name of the baseline, for the message.

    Raises:
        UsageError: If they differ, so that no model could be compared.
    """
    if differing := _differing_values(protocol, baseline_protocol):
        raise UsageError(
            f"this run cannot be compared with baseline {name}: {'; '.join(differing)};"
            " choose another with --robustness-compare, or measure with the baseline's settings",
            Code.BASELINE_MISMATCH,
        )


def _differing_values(current: Mapping[str, Any], saved: Mapping[str, Any]) -> list[str]:
    here, there = _flat(current), _flat(saved)
    return [
        f"{name} is {_short(here.get(name))} here and {_short(there.get(name))} in the baseline"
        for name in dict.fromkeys([*here, *there])
        if here.get(name) != there.get(name)
    ]


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON values by name; nested names are joined by a space."""
    flat: dict[str, Any] = {}
    for name, value in json.loads(json.dumps(dict(values))).items():
        if isinstance(value, dict):
            flat |= {f"{name} {inner}": nested for inner, nested in _flat(value).items()}
        else:
            flat[name] = value
    return flat


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 60 else f"{text[:12]}...{text[-12:]}"  # noqa: PLR2004
