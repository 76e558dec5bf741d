"""The terminal of a command: its error output, where progress is shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Terminal:
    """Standard error, as :mod:`robustness.progress` draws on it."""

    def write(self, text: str) -> None:
        """Writes text."""
        sys.stderr.write(text)

    def flush(self) -> None:
        """Shows what was written."""
        sys.stderr.flush()

    def isatty(self) -> bool:
        """Whether a person watches."""
        return sys.stderr.isatty()

    def columns(self) -> int:
        """The width of the terminal, also where the command's output goes elsewhere."""
        with suppress(OSError, ValueError):
            return os.get_terminal_size(sys.stderr.fileno()).columns or 80
        return 80


@contextmanager
def saying(what: str) -> Iterator[None]:
    """Shows what takes a while and cannot say how far it is; the line is gone when it is done.

    Args:
        what: A line; cut where the terminal is narrower.
    """
    terminal = Terminal()
    if not terminal.isatty():
        yield
        return
    line = what[: terminal.columns() - 1]
    terminal.write(line)
    terminal.flush()
    try:
        yield
    finally:
        terminal.write(f"\r{' ' * len(line)}\r")
        terminal.flush()
