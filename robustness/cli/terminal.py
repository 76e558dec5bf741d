"""The terminal of a command: standard error, which shows progress."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Terminal:
    """Standard error as the stream of a progress bar."""

    def write(self, text: str) -> None:
        """Write text."""
        sys.stderr.write(text)

    def flush(self) -> None:
        """Flush the stream."""
        sys.stderr.flush()

    def isatty(self) -> bool:
        """Return True if the stream is a terminal."""
        return sys.stderr.isatty()

    def columns(self) -> int:
        """Return the width of the terminal, even if standard output is redirected."""
        with suppress(OSError, ValueError):
            return os.get_terminal_size(sys.stderr.fileno()).columns or 80
        return 80


@contextmanager
def status_line(text: str) -> Iterator[None]:
    """Show a line during work without a progress bar, and erase it afterwards.

    Args:
        text: The line; cut to the width of the terminal.
    """
    terminal = Terminal()
    if not terminal.isatty():
        yield
        return
    line = text[: terminal.columns() - 1]
    terminal.write(line)
    terminal.flush()
    try:
        yield
    finally:
        terminal.write(f"\r{' ' * len(line)}\r")
        terminal.flush()
