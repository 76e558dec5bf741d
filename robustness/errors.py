"""Errors that are shown to the user as one line, and all codes of errors and verdicts."""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """Codes of verdicts and errors: one per cause, so that programs need not parse messages."""

    OK = "ok"
    # The measurement and its bounds.
    BOUND_MISSED = "bound_missed"
    NO_BOUND = "no_bound"
    NOT_FINITE = "not_finite"
    NO_LABELS = "no_labels"
    BOUND_VACUOUS = "bound_vacuous"
    SCORES_CONSTANT = "scores_constant"
    NOTHING_HIDDEN = "nothing_hidden"
    NO_POSITIVES = "no_positives"
    REFERENCE_FAILED = "reference_failed"
    PROPERTY_BROKEN = "property_broken"
    PROPERTY_VACUOUS = "property_vacuous"
    # The model, the evaluation set and the store.
    EMBEDDING_MALFORMED = "embedding_malformed"
    EMBEDDING_NOT_FINITE = "embedding_not_finite"
    EMBEDDINGS_MISORDERED = "embeddings_misordered"
    MODEL_FAILED = "model_failed"
    LOADER_UNUSABLE = "loader_unusable"
    WEIGHTS_UNUSABLE = "weights_unusable"
    WEIGHTS_ABSENT = "weights_absent"
    EVALSET_FAILED = "evalset_failed"
    EVALSET_EMPTY = "evalset_empty"
    EVALSET_CHANGED = "evalset_changed"
    NO_TEXT = "no_text"
    STORE_FAILED = "store_failed"
    STORE_STALE = "store_stale"
    STORE_MALFORMED = "store_malformed"
    # The record of a case.
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
    # The run.
    NOT_RUN = "not_run"
    NOTHING_MEASURED = "nothing_measured"
    INCONSISTENT = "inconsistent"
    INTERRUPTED = "interrupted"
    UNFINISHED = "unfinished"
    REPORT_FAILED = "report_failed"
    PAGE_FAILED = "page_failed"
    # The baseline, and the update of bounds.
    REGRESSION = "regression"
    INFERIORITY_NOT_EXCLUDED = "inferiority_not_excluded"
    COMPARISON_VACUOUS = "comparison_vacuous"
    BASELINE_MISMATCH = "baseline_mismatch"
    BASELINE_FAILED = "baseline_failed"
    UPDATE_FAILED = "update_failed"
    # A run that cannot start: see REFUSALS.
    USAGE = "usage"
    OPTION_EMPTY = "option_empty"
    IMPORT_NAME_SHARED = "import_name_shared"
    REPORT_UNWRITABLE = "report_unwritable"
    UNKNOWN_DEVICE = "unknown_device"
    UNKNOWN_EVALSET = "unknown_evalset"
    UNKNOWN_BASELINE = "unknown_baseline"
    BASELINE_UNREADABLE = "baseline_unreadable"
    BASELINE_DAMAGED = "baseline_damaged"
    BASELINE_MALFORMED = "baseline_malformed"
    THRESHOLDS_UNREADABLE = "thresholds_unreadable"
    THRESHOLDS_INVALID = "thresholds_invalid"
    NOT_YAML = "not_yaml"
    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    MISSING_KEY = "missing_key"
    DUPLICATE_KEY = "duplicate_key"
    DUPLICATE_ENTRY = "duplicate_entry"
    CLEAN_LEVEL_MISSING = "clean_level_missing"
    BOUND_MALFORMED = "bound_malformed"
    UNUSED_BOUND = "unused_bound"
    UNKNOWN_KEY = "unknown_key"
    UNKNOWN_MODEL = "unknown_model"
    UNKNOWN_PATTERN = "unknown_pattern"
    UNKNOWN_FILL = "unknown_fill"
    UNKNOWN_LEVEL = "unknown_level"
    UNKNOWN_DIRECTION = "unknown_direction"
    UNKNOWN_METRIC = "unknown_metric"
    UNKNOWN_LIMIT = "unknown_limit"
    UNKNOWN_MODE = "unknown_mode"
    UNKNOWN_POLICY = "unknown_policy"


_CODES = list(Code)

REFUSALS = frozenset(_CODES[_CODES.index(Code.USAGE) :])
"""Codes of a run that cannot start (exit status 4); none of them is the reason of a verdict."""


class GateError(Exception):
    """An input, a file or a setting is wrong; not a bug of this project.

    The message is one complete line (what is wrong, where, what is allowed, what to do) and is
    shown without a traceback. Characters that are not printable, such as those of a file's
    name, are escaped: they could break the line or control the terminal.

    Attributes:
        code: The cause, for programs; each class has a default.

    Raises:
        ValueError: ``code`` is not a :class:`Code`.
    """

    code: Code = Code.MODEL_FAILED

    def __init__(self, message: str, code: Code | None = None) -> None:
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))
        if code is not None:
            self.code = Code(code)


class UsageError(GateError):
    """The options of the run are invalid (exit status 4)."""

    code = Code.USAGE


class ThresholdsError(UsageError):
    """The thresholds file is unreadable or invalid."""

    code = Code.THRESHOLDS_INVALID


class LoaderError(UsageError):
    """A model's loader cannot be found or called, or does not return an encoder."""

    code = Code.LOADER_UNUSABLE


class WeightsError(GateError):
    """A checkpoint is truncated, damaged, or of another model."""

    code = Code.WEIGHTS_UNUSABLE


class WeightsNotFoundError(WeightsError):
    """A checkpoint is not on this machine, so its model cannot be measured."""

    code = Code.WEIGHTS_ABSENT


class EmbeddingError(GateError):
    """A model's embeddings break the encoder contract."""

    code = Code.EMBEDDING_MALFORMED


class StoreError(GateError):
    """The embedding store cannot be read or written."""

    code = Code.STORE_FAILED


class EvaluationSetError(GateError):
    """An evaluation set cannot be read, or has nothing to measure."""

    code = Code.EVALSET_FAILED


class BaselineError(UsageError):
    """A baseline file is damaged or has another format."""

    code = Code.BASELINE_UNREADABLE


class ReportError(GateError):
    """The results cannot be written, or those of an earlier run not removed."""

    code = Code.REPORT_FAILED
