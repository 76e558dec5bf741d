"""What a baseline keeps of a run, and when two runs can be compared."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustness.counts import RankCounts
from robustness.errors import UsageError

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Key:
    """The coordinates of one ranking."""

    pattern: str
    fill: str
    level: float
    direction: str


@dataclass(frozen=True)
class ModelRun:
    """One model's rankings.

    Attributes:
        fingerprint: The encoder's, a hash of its weights.
        measured_on: What makes its queries the same as another run's: the fingerprint of
            the images and reports, and what of a report the model reads.
        patients: The patient of each of the N images.
        text_of_image: int64 ``[N]``, the text each image came with; texts are the queries of
            ``report_to_image``.
        ranks: By coordinates.
    """

    fingerprint: str
    measured_on: Mapping[str, Any]
    patients: tuple[str, ...]
    text_of_image: Integers
    ranks: Mapping[Key, RankCounts] = field(repr=False)

    def queries(self, direction: str) -> int:
        """How many queries a direction has."""
        if direction == "image_to_report":
            return len(self.patients)
        return int(self.text_of_image.max()) + 1 if len(self.text_of_image) else 0


@dataclass(frozen=True)
class Run:
    """What a baseline keeps of a run.

    Attributes:
        protocol: What every model was measured under: evaluation set, policy of positives,
            occlusion scheme and seed.
        models: By name.
        environment: Where and with what versions it was run; not compared.
    """

    protocol: Mapping[str, Any]
    models: Mapping[str, ModelRun]
    environment: Mapping[str, Any] = field(default_factory=dict)


def differences(run: Run, baseline: Run, model: str) -> list[str]:
    """What keeps a model's run and its baseline from being compared in pairs.

    Returns:
        One text for each thing that differs; empty where they measured the same queries
        under the same masks.
    """
    if model not in baseline.models:
        return [f"the baseline has no model {model!r}; it has {', '.join(baseline.models)}"]
    mine, theirs = run.models[model], baseline.models[model]
    found = _unlike(
        {**run.protocol, **mine.measured_on}, {**baseline.protocol, **theirs.measured_on}
    )
    specs = [each.environment.get("evalset") for each in (run, baseline)]
    if mine.measured_on != theirs.measured_on and specs[0] != specs[1]:
        found.insert(0, f"the evaluation set is {specs[0]} here and {specs[1]} in the baseline")
    if not found and mine.patients != theirs.patients:
        found.append("the patients of the images differ")
    if not found and not np.array_equal(mine.text_of_image, theirs.text_of_image):
        found.append("the texts of the images differ")
    absent = [key for key in mine.ranks if key not in theirs.ranks]
    if absent:
        first = absent[0]
        found.append(
            f"the baseline lacks {len(absent)} of {len(mine.ranks)} rankings, such as"
            f" {first.pattern}, {first.fill}, level {first.level:g}"
        )
    return found


def check_protocol(protocol: Mapping[str, Any], then: Mapping[str, Any], name: str) -> None:
    """Sees that a run could be compared with a baseline, as far as it is known before the run.

    Args:
        protocol: What the run is measured under.
        then: What the baseline was measured under.
        name: The baseline's, for the message.

    Raises:
        UsageError: No model of it could be.
    """
    if differing := _unlike(protocol, then):
        raise UsageError(
            f"this run cannot be compared with baseline {name}: {'; '.join(differing)}; name"
            " another with --robustness-compare, or measure as it was measured",
            "baseline_mismatch",
        )


def _unlike(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    here, there = _flat(now), _flat(then)
    return [
        f"{name} is {_short(here.get(name))} here and {_short(there.get(name))} in the baseline"
        for name in dict.fromkeys([*here, *there])
        if here.get(name) != there.get(name)
    ]


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name, those of a mapping under its name and theirs; as JSON has them."""
    flat: dict[str, Any] = {}
    for name, value in json.loads(json.dumps(dict(values))).items():
        if isinstance(value, dict):
            flat |= {f"{name} {inner}": held for inner, held in _flat(value).items()}
        else:
            flat[name] = value
    return flat


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 60 else f"{text[:12]}...{text[-12:]}"  # noqa: PLR2004


def from_records(
    records: Iterable[Mapping[str, Any]],
    protocol: Mapping[str, Any],
    environment: Mapping[str, Any],
) -> Run:
    """What is kept of a run, from the records of its cases that were measured.

    Args:
        records: As :meth:`robustness.gate.Gate.run` makes them, with ``ranks``.
        protocol: What the run was measured under.
        environment: Where it was run.
    """
    models: dict[str, ModelRun] = {}
    for record in records:
        if not record.get("ranks"):
            continue
        queries, name = record["queries"], record["cells"][0]["model"]
        known = models.get(name)
        ranks = dict(known.ranks) if known else {}
        for ranking in record["ranks"]:
            key = Key(**{part.name: ranking[part.name] for part in fields(Key)})
            ranks[key] = RankCounts.of(ranking["counts"], ranking["gallery_size"])
        models[name] = ModelRun(
            record["protocol"]["model"]["fingerprint"],
            queries["measured_on"],
            tuple(queries["patients"]),
            np.array(queries["text_of_image"], np.int64),
            ranks,
        )
    return Run(protocol, models, environment)
