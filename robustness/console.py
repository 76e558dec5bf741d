"""The terminal of a run, past pytest's capture."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from robustness.progress import Stream


def terminal_of(config: pytest.Config) -> Stream | None:
    """The terminal that this process reports to; None in xdist's workers."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):
        return None
    return _Terminal(reporter, config.pluginmanager.get_plugin("capturemanager"))


class _Terminal:
    """The reporter's terminal, past pytest's capture, on a line of its own."""

    def __init__(self, reporter: pytest.TerminalReporter, capture: Any) -> None:
        self._reporter = reporter
        self._capture = capture

    def write(self, text: str) -> None:
        """Writes at once."""
        with self._uncaptured():
            self._reporter.ensure_newline()
            self._reporter.write(text, flush=True)

    def flush(self) -> None:
        """Does nothing: what is written is shown at once."""

    def isatty(self) -> bool:
        """Whether a person watches."""
        return bool(self._reporter.isatty)

    def columns(self) -> int:
        """The width of the terminal, which pytest's capture hides from this process."""
        with self._uncaptured():
            return shutil.get_terminal_size().columns

    def _uncaptured(self) -> AbstractContextManager[None]:
        if self._capture is None:
            return nullcontext()
        uncaptured: AbstractContextManager[None] = self._capture.global_and_fixture_disabled()
        return uncaptured
