"""Records: typed values that cross from an xdist worker to its controller as JSON.

:meth:`Record.to_json` and :meth:`Record.from_json` are inverse, but for numbers that JSON cannot
represent. Decoding checks the type of every field, so a record need not be checked for its
structure again. Nothing here imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, Union, get_args, get_origin, get_type_hints

import numpy as np

from robustness._util.profile import Phase
from robustness.embedding import StoreCounts
from robustness.encoder import TextPolicy
from robustness.metrics.bootstrap import Estimate, Replicates
from robustness.metrics.rank_counts import RankCounts
from robustness.thresholds import Bound, MeasurementKey, References
from robustness.verdict.reasons import Judgement, Reason, Verdict

if TYPE_CHECKING:
    from robustness.plan import Plan

RESULTS_SCHEMA = "robustness-results-2"
"""Schema of ``results.json``."""

Json: TypeAlias = dict[str, Any]
"""A JSON object."""

MAX_ERROR_LENGTH = 200

CURVE_DECIMALS = 6
"""Decimals of the replicates of a curve point, which are sent for their spread alone."""


class RecordError(ValueError):
    """JSON data does not have the structure of a record; the message names the field."""


# --- JSON --------------------------------------------------------------------------------


def number(value: float) -> float | None:
    """Return a number that JSON can represent: None for NaN and infinities.

    Example:
        >>> number(0.5), number(float("inf"))
        (0.5, None)
    """
    return float(value) if math.isfinite(value) else None


def encode(value: object) -> Any:
    """Return a value, a dataclass or a container of them as plain JSON values."""
    encoded: Any = value
    if isinstance(value, Record):
        encoded = value.to_json()
    elif isinstance(value, Enum):
        encoded = value.value
    elif isinstance(value, float):
        encoded = number(value)
    elif is_dataclass(value):
        encoded = {part.name: encode(getattr(value, part.name)) for part in fields(value)}
    elif isinstance(value, Mapping):
        encoded = {name: encode(item) for name, item in value.items()}
    elif isinstance(value, list | tuple):
        encoded = [encode(item) for item in value]
    return encoded


def decode(kind: Any, data: object, where: str) -> Any:
    """Return JSON data as a value of a type.

    Args:
        kind: A dataclass, an enum, ``str``, ``int``, ``float``, ``X | None``,
            ``tuple[X, ...]`` or ``dict[str, X]``.
        data: JSON values.
        where: Name of the data in messages.

    Raises:
        RecordError: A value has another type, or a field is missing.
    """
    if kind is Any:
        return data
    if get_origin(kind) is not None:
        return _generic(kind, data, where)
    if is_dataclass(kind) and isinstance(data, Mapping):
        if isinstance(kind, type) and issubclass(kind, Record):
            return kind.from_json(data, where)
        return decode_fields(kind, data, where)
    return _scalar(kind, data, where)


def _generic(kind: Any, data: object, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        (inner,) = (argument for argument in arguments if argument is not NoneType)
        return None if data is None else decode(inner, data, where)
    if origin is tuple and isinstance(data, list | tuple):
        return tuple(decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(data))
    if origin is dict and isinstance(data, Mapping):
        return {key: decode(arguments[1], item, f"{where}.{key}") for key, item in data.items()}
    raise _wrong_type(kind, data, where)


def _scalar(kind: Any, data: object, where: str) -> Any:
    if kind is float and isinstance(data, int | float) and not isinstance(data, bool):
        return float(data)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(data)
        except ValueError as error:
            raise RecordError(f"{where}: {error}") from error
    if type(data) is kind:
        return data
    raise _wrong_type(kind, data, where)


def _wrong_type(kind: Any, data: object, where: str) -> RecordError:
    name = kind.__name__ if isinstance(kind, type) else str(kind)
    return RecordError(f"{where} is {type(data).__name__}, not {name}")


def decode_fields(kind: Any, data: Mapping[str, object], where: str) -> Any:
    """Return the dataclass ``kind`` with its fields decoded from ``data``."""
    values = {}
    for name, hint in _hints(kind).items():
        if name not in data:
            raise RecordError(f"{where} has no {name!r}")
        values[name] = decode(hint, data[name], f"{where}.{name}")
    return kind(**values)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {part.name: hints[part.name] for part in fields(kind)}


class Record:
    """Base class of the dataclasses that are written as JSON."""

    __slots__ = ()

    def to_json(self) -> Json:
        """Return the fields as plain JSON values; NaN and infinities become None."""
        return {name: encode(getattr(self, name)) for name in _hints(type(self))}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "record") -> Self:
        """Return the inverse of :meth:`to_json`.

        Raises:
            RecordError: A field is missing or has another type.
        """
        record: Self = decode_fields(cls, data, where)
        return record


class Judged(Record):
    """Base class of records with a verdict, a reason and a message."""

    __slots__ = ()

    verdict: Verdict
    reason: Reason
    message: str

    @property
    def judgement(self) -> Judgement:
        """The verdict with its reason."""
        return Judgement(self.verdict, self.reason, self.message)

    @property
    def failed(self) -> bool:
        """True if the verdict is ``fail``."""
        return self.verdict is Verdict.FAIL


def judged_fields(judgement: Judgement) -> dict[str, Any]:
    """Return a judgement as keyword arguments of a :class:`Judged` record."""
    return {part.name: getattr(judgement, part.name) for part in fields(judgement)}


def require_schema(results: object) -> None:
    """Raise if a document is not a ``results.json`` of this schema.

    Raises:
        RecordError: It is of another schema, or is not an object.
    """
    schema = results.get("schema") if isinstance(results, dict) else None
    if schema != RESULTS_SCHEMA:
        raise RecordError(f"its schema is {schema!r}, this version reads {RESULTS_SCHEMA!r}")


# --- measurements ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EstimateRecord(Record):
    """A value with its interval; None for what is unknown or infinite."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, estimate: Estimate) -> EstimateRecord:
        """Return the record of an estimate."""
        return cls(number(estimate.value), number(estimate.low), number(estimate.high))


@dataclass(frozen=True, slots=True)
class BoundRecord(Record):
    """A bound of a measurement.

    Attributes:
        text: The bound as it is written in the thresholds file.
        metric: The metric.
        operator: ``>=`` or ``<=``.
        limit: The limit as a number; None if the reference is unknown.
        reference: :data:`~robustness.thresholds.CHANCE`, a model, or None.
        line: Line in the thresholds file.
    """

    text: str
    metric: str
    operator: str
    limit: float | None
    reference: str | None
    line: int

    @classmethod
    def of(cls, bound: Bound, references: References) -> BoundRecord:
        """Return the record of a bound, its limit computed from ``references``."""
        return cls(
            text=str(bound),
            metric=bound.metric,
            operator=">=" if bound.at_least else "<=",
            limit=number(bound.against(references)),
            reference=bound.reference,
            line=bound.line,
        )


@dataclass(frozen=True, slots=True)
class MeasurementRecord(Judged):
    """The judged metrics of one model, perturbation and direction.

    Attributes:
        evalset: Specification of the evaluation set.
        n: Number of queries; 0 if nothing was measured.
        labelled: Number of queries with labels.
        metrics: Every metric, by name; empty if nothing was measured.
        chance: The same metrics but retention, of a model that knows nothing.
        hidden: Mean hidden share of the images' area; None if nothing was measured.
        bounds: The bounds that apply.
    """

    model: str
    evalset: str
    pattern: str
    fill: str
    level: float
    seed: int
    direction: str
    n: int
    labelled: int
    metrics: dict[str, EstimateRecord]
    chance: dict[str, float | None]
    hidden: float | None
    bounds: tuple[BoundRecord, ...]
    verdict: Verdict
    reason: Reason
    message: str

    @property
    def key(self) -> MeasurementKey:
        """The coordinates."""
        return MeasurementKey(self.model, self.pattern, self.fill, self.level, self.direction)

    @property
    def key_in_model(self) -> tuple[str, str, float, str]:
        """The coordinates but the model, as :attr:`Ranking.key` has them."""
        return self.pattern, self.fill, self.level, self.direction

    def value(self, metric: str) -> float | None:
        """Return a metric's value; None if it is unknown."""
        estimate = self.metrics.get(metric)
        return estimate.value if estimate is not None else None


def unmeasured(
    plan: Plan, key: MeasurementKey, bounds: tuple[Bound, ...], judgement: Judgement
) -> MeasurementRecord:
    """Return the record of a measurement that has no metrics (yet)."""
    return MeasurementRecord(
        model=key.model,
        evalset=plan.evalset,
        pattern=key.pattern,
        fill=key.fill,
        level=key.level,
        seed=plan.thresholds.seed,
        direction=key.direction,
        n=0,
        labelled=0,
        metrics={},
        chance={},
        hidden=None,
        bounds=tuple(BoundRecord.of(bound, {}) for bound in bounds),
        **judged_fields(judgement),
    )


@dataclass(frozen=True, slots=True)
class CurvePoint(Record):
    """A measurement's point of its degradation curve.

    Attributes:
        replicates: The headline metric and its bootstrap replicates.
    """

    fill: str
    direction: str
    replicates: Replicates

    def to_json(self) -> Json:
        """Return plain JSON values; the replicates are rounded."""
        resampled = [
            number(round(float(value), CURVE_DECIMALS)) for value in self.replicates.resampled
        ]
        return {
            "fill": self.fill,
            "direction": self.direction,
            "value": number(self.replicates.value),
            "resampled": resampled,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "record") -> CurvePoint:
        """Return the inverse of :meth:`to_json`; None becomes NaN."""
        point = decode_fields(_CurvePointJson, data, where)
        value, *resampled = (
            math.nan if each is None else each for each in (point.value, *point.resampled)
        )
        return cls(point.fill, point.direction, Replicates(value, np.array(resampled, float)))


@dataclass(frozen=True, slots=True)
class _CurvePointJson:
    fill: str
    direction: str
    value: float | None
    resampled: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class CurveRecord(Record):
    """A degradation curve, summarised over its levels.

    Attributes:
        metric: The metric.
        area_under_curve: Mean of the metric over the levels.
        level_of_half_loss: The lowest level at which half of the clean value is lost.
    """

    model: str
    pattern: str
    fill: str
    direction: str
    metric: str
    area_under_curve: EstimateRecord
    level_of_half_loss: EstimateRecord


@dataclass(frozen=True, slots=True)
class Ranking(Record):
    """The rank counts of every query of a measurement."""

    pattern: str
    fill: str
    level: float
    direction: str
    counts: RankCounts

    @property
    def key(self) -> tuple[str, str, float, str]:
        """The coordinates within a model."""
        return self.pattern, self.fill, self.level, self.direction

    @classmethod
    def of(cls, key: MeasurementKey, counts: RankCounts) -> Ranking:
        """Return the ranking of a measurement."""
        return cls(key.pattern, key.fill, key.level, key.direction, counts)

    def to_json(self) -> Json:
        """Return plain JSON values; arrays become lists."""
        return {
            "pattern": self.pattern,
            "fill": self.fill,
            "level": self.level,
            "direction": self.direction,
            "counts": {name: array.tolist() for name, array in self.counts.arrays().items()},
            "gallery_size": self.counts.gallery_size,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "record") -> Ranking:
        """Return the inverse of :meth:`to_json`."""
        raw = decode_fields(_RankingJson, data, where)
        try:
            counts = RankCounts.of(raw.counts, raw.gallery_size)
        except (TypeError, ValueError) as error:
            raise RecordError(f"{where}.counts: {error}") from error
        lengths = {name: len(array) for name, array in counts.arrays().items()}
        pairs = int(counts.positives.sum())
        for name, length in lengths.items():
            expected = pairs if name.startswith("pair_") else len(counts)
            if length != expected:
                raise RecordError(f"{where}.counts.{name} has {length} entries, not {expected}")
        return cls(raw.pattern, raw.fill, raw.level, raw.direction, counts)


@dataclass(frozen=True, slots=True)
class _RankingJson:
    pattern: str
    fill: str
    level: float
    direction: str
    counts: dict[str, Any]
    gallery_size: int


@dataclass(frozen=True, slots=True)
class Queries(Record):
    """The queries that a model's rankings are about.

    Attributes:
        measured_on: What makes the queries equal to those of another run.
        patients: The patient of each of the N images.
        text_of_image: The text that each image came with, ``[N]``.
    """

    measured_on: dict[str, Any]
    patients: tuple[str, ...]
    text_of_image: tuple[int, ...]


# --- protocol ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EvaluationSetProtocol(Record):
    """The evaluation set of a run.

    Attributes:
        excluded: Number of excluded items, by reason.
        misnamed: Columns that are not read, with the column each may be meant for.
    """

    spec: str
    fingerprint: str
    images: int
    studies: int
    patients: int
    excluded: dict[str, int]
    misnamed: dict[str, str]


@dataclass(frozen=True, slots=True)
class ModelProtocol(Record):
    """A model of a run.

    Attributes:
        images: Number of images measured.
        texts: Number of distinct texts measured.
        excluded: Number of items excluded for this model, by reason, those of the set included.
    """

    name: str
    loader: str
    fingerprint: str
    embedding_dim: int
    text_policy: TextPolicy
    options: dict[str, Any]
    details: dict[str, Any]
    images: int
    texts: int
    excluded: dict[str, int]


@dataclass(frozen=True, slots=True)
class Protocol(Record):
    """Facts that a model's measurements rest on, besides the plan."""

    evalset: EvaluationSetProtocol
    model: ModelProtocol


# --- cases and properties ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CaseRecord(Record):
    """All that a case reports.

    Attributes:
        case: The case's id.
        measurements: One per fill and direction.
        curve: One point per measurement; empty if nothing was measured.
        protocol: None if nothing was measured.
        ranks: One per measurement if the run is saved or compared; else empty.
        queries: The queries of the ranks, or None.
    """

    case: str
    measurements: tuple[MeasurementRecord, ...]
    curve: tuple[CurvePoint, ...] = ()
    protocol: Protocol | None = None
    ranks: tuple[Ranking, ...] = ()
    queries: Queries | None = None


@dataclass(frozen=True, slots=True)
class PropertyRecord(Judged):
    """The result of a property search.

    Attributes:
        property: A name of :data:`robustness.plan.PROPERTIES`.
        occlusion: The occlusion that breaks the property, or None.
        examples: Number of occlusions tried.
        room: The least margin that was left; None if nothing was tried.
    """

    model: str
    property: str
    occlusion: str | None
    verdict: Verdict
    reason: Reason
    message: str
    examples: int = 0
    room: float | None = None


def unsearched(model: str, name: str, judgement: Judgement) -> PropertyRecord:
    """Return the record of a property that was not searched."""
    return PropertyRecord(model, name, None, **judged_fields(judgement))


AnyRecord: TypeAlias = CaseRecord | PropertyRecord


def judged_parts(record: AnyRecord) -> tuple[Judged, ...]:
    """Return the parts of a record that have a verdict."""
    return (record,) if isinstance(record, PropertyRecord) else record.measurements


def fails(record: AnyRecord) -> bool:
    """Return True if a case or property failed."""
    return any(part.failed for part in judged_parts(record))


# --- comparisons -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRecord(Judged):
    """A measurement (both directions) compared with its baseline.

    All fields but the judgement are None if the comparison was not possible; the model is None
    if that is so for the whole run.

    Attributes:
        n: Number of queries, by direction.
        patients: Number of clusters of patients.
        drop: Drop of the metric, the mean over both directions.
        drops: Drop of the metric, by direction.
        p: The p-value.
        adjusted_p: The p-value adjusted for all comparisons of the run.
        smallest_drop: The smallest drop that this n would detect; None if there is none.
        not_excluded: The largest drop that is not excluded; None unless the mode is
            ``non_inferiority``.
    """

    model: str | None = None
    pattern: str | None = None
    fill: str | None = None
    level: float | None = None
    n: dict[str, int] | None = None
    patients: int | None = None
    drop: EstimateRecord | None = None
    drops: dict[str, float] | None = None
    p: float | None = None
    adjusted_p: float | None = None
    smallest_drop: float | None = None
    not_excluded: float | None = None
    verdict: Verdict
    reason: Reason
    message: str

    def to_json(self) -> Json:
        """Return plain JSON values; of a comparison that was not possible, the known fields."""
        data = Record.to_json(self)
        if self.drop is not None:
            return data
        return {name: value for name, value in data.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ComparisonsRecord(Record):
    """The comparison of a run with a baseline.

    Attributes:
        baseline: Name of the baseline.
        precision: Precision of the forward passes, ``here`` and in the ``baseline``.
        mode: ``regression`` or ``non_inferiority``.
        metric: The metric whose drop is judged.
        margin: The tolerated drop, as a fraction.
        alpha: Family-wise error level.
        test: The statistical test, in words.
        comparisons: One per model, pattern, fill and level.
    """

    baseline: str
    precision: dict[str, str]
    mode: str
    metric: str
    margin: float
    alpha: float
    test: str
    comparisons: tuple[ComparisonRecord, ...]


# --- processes ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Activity(Record):
    """What a process did so far, for the timing block.

    Attributes:
        thresholds: SHA-256 of the thresholds file that the process read.
        device: The torch device; None before it is chosen.
        model_loads: Number of models loaded.
        store: Entries found, computed and damaged.
        profile: Time by phase.
        peak_memory_mb: Peak memory in MB, or None.
        peak_device_memory_mb: Peak device memory in MB, or None.
        fingerprints: Of each model, its fingerprint and that of its evaluation set.
    """

    thresholds: str
    device: str | None
    model_loads: int
    store: StoreCounts
    profile: dict[str, Phase]
    peak_memory_mb: float | None
    peak_device_memory_mb: float | None
    fingerprints: dict[str, tuple[str, ...]]


def error_line(call: Any) -> str:
    """Return the error that ended a case, in one line.

    Args:
        call: A ``pytest.CallInfo``.
    """
    if call.excinfo is None:
        return "an error"
    text = " ".join(str(call.excinfo.value).split())
    return f"{call.excinfo.typename}: {shortened(text)}" if text else str(call.excinfo.typename)


def shortened(text: str, length: int = MAX_ERROR_LENGTH) -> str:
    """Return the text, cut to a maximum length.

    Example:
        >>> shortened("abcdefgh", 6)
        'abc...'
    """
    return text if len(text) <= length else f"{text[: length - 3]}..."
