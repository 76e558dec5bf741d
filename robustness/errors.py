"""Errors that a person reads: one line, what is wrong, where, and what to do."""

from __future__ import annotations


class GateError(Exception):
    """Something outside this project's code is wrong: an input, a file, a setting.

    The message is one complete line (what is wrong, where, what is allowed, what to
    do), shown as it is and without a traceback. What it quotes of an input, such as a
    file's name, cannot break the line or speak to the terminal: such characters are escaped.

    Attributes:
        code: What is wrong, for programs: one a cause. The class's, unless it is given.
    """

    code = "model_failed"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))
        if code is not None:
            self.code = code


class UsageError(GateError):
    """The run was asked for in a way that cannot work (exit status 4)."""

    code = "usage"


class ThresholdsError(UsageError):
    """The thresholds file cannot be read, or says what it may not."""

    code = "thresholds_invalid"


class LoaderError(UsageError):
    """A model's loader cannot be found, called, or returns no encoder."""

    code = "loader_unusable"


class WeightsError(GateError):
    """A checkpoint cannot be used: truncated, damaged, or of another model."""

    code = "weights_unusable"


class WeightsNotFoundError(WeightsError):
    """A checkpoint is not on this machine, so its model cannot be measured."""

    code = "weights_absent"


class EmbeddingError(GateError):
    """A model's embeddings break the contract, so nothing can be made of them."""

    code = "embedding_malformed"


class StoreError(GateError):
    """The store of embeddings cannot be read from or written to."""

    code = "store_failed"


class EvaluationSetError(GateError):
    """An evaluation set cannot be read, or holds nothing that could be measured."""

    code = "evalset_failed"


class FetchError(GateError):
    """A collection cannot be downloaded, unpacked, or written where it was asked for."""

    code = "fetch_failed"


class BaselineError(UsageError):
    """A baseline is no file of this form, or a damaged one."""

    code = "baseline_unreadable"


class ReportError(GateError):
    """What a run found cannot be written, or what an earlier run found not removed."""

    code = "report_failed"
