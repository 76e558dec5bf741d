"""Errors that a person reads: one line, what is wrong, where, and what to do."""

from __future__ import annotations


class GateError(Exception):
    """Something outside this project's code is wrong: an input, a file, a setting.

    The message is one complete line (what is wrong, where, what is allowed, what to
    do), shown as it is and without a traceback. What it quotes of an input, such as a
    file's name, cannot break the line or speak to the terminal: such characters are escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))


class UsageError(GateError):
    """The run was asked for in a way that cannot work (exit status 4)."""


class WeightsError(GateError):
    """A checkpoint cannot be used: truncated, damaged, or of another model."""


class WeightsNotFoundError(WeightsError):
    """A checkpoint is not on this machine, so its model cannot be measured."""


class StoreError(GateError):
    """The store of embeddings cannot be read from or written to."""


class EvaluationSetError(GateError):
    """An evaluation set cannot be read, or holds nothing that could be measured."""


class FetchError(GateError):
    """A collection cannot be downloaded, unpacked, or written where it was asked for."""


class BaselineError(UsageError):
    """A baseline is no file of this form, or a damaged one."""
