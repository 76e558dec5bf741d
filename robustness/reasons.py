"""What is said of what a run judged, and why: codes for programs, a line for a person."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What is said of a measurement, a property or a run."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    NOT_MEASURED = "not_measured"


class Reason(StrEnum):
    """Why; one code a cause, so that programs need not read messages."""

    OK = "ok"
    BOUND_MISSED = "bound_missed"
    NO_BOUND = "no_bound"
    NOT_FINITE = "not_finite"
    NO_LABELS = "no_labels"
    BOUND_VACUOUS = "bound_vacuous"
    SCORES_CONSTANT = "scores_constant"
    NOTHING_HIDDEN = "nothing_hidden"
    NO_POSITIVES = "no_positives"
    EMBEDDING_MALFORMED = "embedding_malformed"
    EMBEDDING_NOT_FINITE = "embedding_not_finite"
    MODEL_FAILED = "model_failed"
    LOADER_UNUSABLE = "loader_unusable"
    WEIGHTS_UNUSABLE = "weights_unusable"
    EVALSET_FAILED = "evalset_failed"
    EVALSET_EMPTY = "evalset_empty"
    EVALSET_CHANGED = "evalset_changed"
    NO_TEXT = "no_text"
    STORE_FAILED = "store_failed"
    STORE_STALE = "store_stale"
    STORE_MALFORMED = "store_malformed"
    WEIGHTS_ABSENT = "weights_absent"
    REFERENCE_FAILED = "reference_failed"
    PROPERTY_BROKEN = "property_broken"
    PROPERTY_VACUOUS = "property_vacuous"
    EMBEDDINGS_MISORDERED = "embeddings_misordered"
    CRASHED = "crashed"
    WORKER_CRASHED = "worker_crashed"
    RECORD_MISSING = "record_missing"
    RECORD_MALFORMED = "record_malformed"
    LEVEL_MISSING = "level_missing"
    MEASUREMENT_MISSING = "measurement_missing"
    QUERIES_MISSING = "queries_missing"
    METRIC_MISSING = "metric_missing"
    RANKS_MISSING = "ranks_missing"
    RANKS_CONTRADICT = "ranks_contradict"
    BOUND_DROPPED = "bound_dropped"
    FALSE_PASS = "false_pass"  # noqa: S105 - a reason, no password
    FALSE_EXCUSE = "false_excuse"
    NOTHING_TRIED = "nothing_tried"
    NOT_RUN = "not_run"
    NOTHING_MEASURED = "nothing_measured"
    INCONSISTENT = "inconsistent"
    INTERRUPTED = "interrupted"
    UNFINISHED = "unfinished"
    REPORT_FAILED = "report_failed"
    PAGE_FAILED = "page_failed"
    REGRESSION = "regression"
    INFERIORITY_NOT_EXCLUDED = "inferiority_not_excluded"
    COMPARISON_VACUOUS = "comparison_vacuous"
    BASELINE_MISMATCH = "baseline_mismatch"
    BASELINE_FAILED = "baseline_failed"
    UPDATE_FAILED = "update_failed"


FINDINGS = frozenset(
    {
        Reason.BOUND_MISSED,
        Reason.NOT_FINITE,
        Reason.PROPERTY_BROKEN,
        Reason.REGRESSION,
        Reason.INFERIORITY_NOT_EXCLUDED,
    }
)
"""What a fair measurement can find wrong with a model; at chance it has no retention."""

OF_RECORDS = frozenset(
    {
        Reason.RECORD_MISSING,
        Reason.RECORD_MALFORMED,
        Reason.LEVEL_MISSING,
        Reason.MEASUREMENT_MISSING,
        Reason.QUERIES_MISSING,
        Reason.METRIC_MISSING,
        Reason.RANKS_MISSING,
        Reason.RANKS_CONTRADICT,
        Reason.BOUND_DROPPED,
        Reason.FALSE_PASS,
        Reason.FALSE_EXCUSE,
    }
)
"""What is wrong with a case's record, of which the case itself says nothing."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its reason, as a code and as one line.

    Attributes:
        verdict: Pass, fail, or not measured.
        reason: The code.
        message: For a person; empty where all is well.
    """

    verdict: Verdict
    reason: Reason
    message: str = ""


PASSED = Judgement(Verdict.PASS, Reason.OK)
