"""Records: typed values that cross from an xdist worker to its controller as JSON.

Nothing here imports torch. A record with a verdict is a
:class:`~robustness.verdict.reasons.Judgement`.
"""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from robustness._util.profile import Phase
from robustness.embedding import StoreCounts
from robustness.encoder import TextPolicy
from robustness.metrics.bootstrap import Estimate, Replicates
from robustness.metrics.rank_counts import RankCounts
from robustness.records.codec import Record, number
from robustness.thresholds import Bound, MeasurementKey, References
from robustness.verdict.reasons import Judgement

if TYPE_CHECKING:
    from robustness.plan import Plan

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
        operator: ``>=`` or ``<=``.
        limit: The limit as a number; None if the reference is unknown.
        reference: :data:`~robustness.thresholds.CHANCE`, a model, or None.
        line: Line of the thresholds file.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementRecord(Record, Judgement):
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

    @property
    def key(self) -> MeasurementKey:
        """The coordinates."""
        return MeasurementKey(self.model, self.pattern, self.fill, self.level, self.direction)

    def value(self, metric: str) -> float | None:
        """Return a metric's value; None if it is unknown."""
        estimate = self.metrics.get(metric)
        return estimate.value if estimate is not None else None


def unmeasured(plan: Plan, key: MeasurementKey, judgement: Judgement) -> MeasurementRecord:
    """Return the record of a measurement that has no metrics (yet)."""
    bounds = plan.thresholds.bounds(key, plan.evalset_kind)
    return MeasurementRecord(
        *astuple(judgement),
        **asdict(key),
        evalset=plan.evalset,
        seed=plan.thresholds.seed,
        n=0,
        labelled=0,
        metrics={},
        chance={},
        hidden=None,
        bounds=tuple(BoundRecord.of(bound, {}) for bound in bounds),
    )


@dataclass(frozen=True, slots=True)
class CurvePoint(Record):
    """The headline metric of a measurement with its bootstrap replicates, for the curve."""

    fill: str
    direction: str
    replicates: Replicates


@dataclass(frozen=True, slots=True)
class CurveRecord(Record):
    """A degradation curve, summarised over its levels.

    Attributes:
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
    """The rank counts of every query of a measurement.

    Raises:
        ValueError: The arrays of the counts differ in length.
    """

    pattern: str
    fill: str
    level: float
    direction: str
    counts: RankCounts

    def __post_init__(self) -> None:
        pairs = int(self.counts.positives.sum())
        for name, array in self.counts.arrays().items():
            expected = pairs if name.startswith("pair_") else len(self.counts)
            if len(array) != expected:
                raise ValueError(f"counts.{name} has {len(array)} entries, not {expected}")

    @property
    def key(self) -> tuple[str, str, float, str]:
        """The coordinates within a model."""
        return self.pattern, self.fill, self.level, self.direction


@dataclass(frozen=True, slots=True)
class Queries(Record):
    """The queries that a model's rankings are about.

    Attributes:
        measured_on: Properties that make the queries equal to those of another run.
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
        excluded: Number of excluded items by reason.
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
    """The conditions of a model's measurements that the plan does not contain."""

    evalset: EvaluationSetProtocol
    model: ModelProtocol


# --- cases and properties ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CaseRecord(Record):
    """The complete report of a case.

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

    @property
    def failed(self) -> bool:
        """True if any measurement failed."""
        return any(measurement.failed for measurement in self.measurements)


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyRecord(Record, Judgement):
    """The result of a property search.

    Attributes:
        property: A name of :data:`robustness.plan.PROPERTIES`.
        occlusion: The occlusion that breaks the property, or None.
        examples: Number of occlusions tried.
        room: The least margin that was left; None if nothing was tried.
    """

    model: str
    property: str
    occlusion: str | None = None
    examples: int = 0
    room: float | None = None


AnyRecord: TypeAlias = CaseRecord | PropertyRecord


# --- processes ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Activity(Record):
    """Statistics of a process so far, for the timing block.

    Attributes:
        thresholds: SHA-256 of the thresholds file that the process read.
        device: The torch device; None before it is chosen.
        profile: Time by phase.
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
