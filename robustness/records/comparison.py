"""Records of the comparison of a run with a baseline."""

from __future__ import annotations

from dataclasses import dataclass

from robustness.records import EstimateRecord
from robustness.records.codec import Record
from robustness.verdict.reasons import Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRecord(Record, Judgement):
    """A measurement compared with its baseline.

    All fields but the judgement are None if the comparison was not possible; the model is None
    if that is so for the whole run.

    Attributes:
        n: Number of queries, by direction.
        patients: Number of clusters of patients.
        drop: Drop of the metric, the mean over both directions; ``drops`` is by direction.
        adjusted_p: The p-value ``p`` adjusted for all comparisons of the run.
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


@dataclass(frozen=True, slots=True)
class ComparisonsRecord(Record):
    """The comparison of a run with a baseline.

    Attributes:
        precision: Precision of the forward passes, ``here`` and in the ``baseline``.
        mode: ``regression`` or ``non_inferiority``.
        margin: The tolerated drop of the metric, as a fraction.
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
