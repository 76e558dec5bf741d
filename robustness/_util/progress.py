"""Progress bars on the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pytest

MAX_COLUMNS = 79
"""Maximum width of a bar, so that it fits on one line of a common terminal."""

FORMATS = {
    76: "{desc} {percentage:3.0f} % |{bar}| {n_fmt} of {total_fmt}{unit}, {rate_noinv_fmt},"
    " {remaining} left",
    68: "{desc} {percentage:3.0f} %, {n_fmt} of {total_fmt}{unit}, {rate_noinv_fmt},"
    " {remaining} left",
    0: "{desc} {percentage:3.0f} %, {remaining} left",
}
"""tqdm formats by the minimum number of columns they need; a longer line is cut."""

MIN_DURATION_S = 0.5
"""Time until a bar is drawn; shorter work draws none, so that nothing flickers."""

_drawn: ContextVar[bool] = ContextVar("drawn", default=False)
"""True while a bar is open: there is one line, with one bar."""


class Stream(Protocol):
    """Text stream that a bar is drawn on."""

    def write(self, text: str, /) -> object:
        """Write text."""
        ...

    def flush(self) -> object:
        """Show the written text."""
        ...

    def isatty(self) -> bool:
        """Return True if the stream is a terminal."""
        ...

    def columns(self) -> int:
        """Return the width of the terminal."""
        ...


def terminal_of(config: pytest.Config) -> Stream | None:
    """Return the terminal of a pytest run, bypassing output capture; None in xdist workers."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):
        return None
    return _Terminal(reporter, config.pluginmanager.get_plugin("capturemanager"))


class _Terminal:
    """Terminal of pytest's reporter, bypassing output capture."""

    def __init__(self, reporter: pytest.TerminalReporter, capture: Any) -> None:
        self._reporter = reporter
        self._capture = capture

    def write(self, text: str) -> None:
        """Write text on a new line and flush it."""
        with self._uncaptured():
            self._reporter.ensure_newline()
            self._reporter.write(text, flush=True)

    def flush(self) -> None:
        """Do nothing: :meth:`write` flushes."""

    def isatty(self) -> bool:
        """Return True if the reporter writes to a terminal."""
        return bool(self._reporter.isatty)

    def columns(self) -> int:
        """Return the width of the terminal, which pytest's capture hides."""
        with self._uncaptured():
            return shutil.get_terminal_size().columns

    def _uncaptured(self) -> AbstractContextManager[None]:
        if self._capture is None:
            return nullcontext()
        uncaptured: AbstractContextManager[None] = self._capture.global_and_fixture_disabled()
        return uncaptured


@contextmanager
def progress(
    total: int, label: str, unit: str, stream: Stream | None = None, *, done: int = 0
) -> Iterator[Callable[[int], object]]:
    """Show a progress bar with rate and remaining time; erase it at the end.

    Nothing is drawn without a terminal, within another bar, or if the work takes less than
    :data:`MIN_DURATION_S`.

    Args:
        total: Number of units of work.
        label: Name of the work, such as ``decoding``.
        unit: Plural name of the unit, such as ``images``.
        stream: Stream to draw on, or None.
        done: Number of units that are already done; they do not count for the rate.

    Yields:
        Function to call with the number of units done since its last call. It must be called
        from one thread.
    """
    if stream is None or not stream.isatty() or _drawn.get():
        yield lambda _done: None
        return
    from tqdm import tqdm

    # tqdm's monitor thread would write without the stream's protection.
    bar_type = type("Bar", (tqdm,), {"monitor_interval": 0})
    columns = min(MAX_COLUMNS, stream.columns() - 1)
    with bar_type(
        total=total,
        initial=done,
        desc=label,
        unit=f" {unit}",
        file=stream,
        ncols=columns,
        ascii=" #",
        bar_format=next(text for minimum, text in FORMATS.items() if columns >= minimum),
        leave=False,
        delay=MIN_DURATION_S,
    ) as bar:
        outer = _drawn.set(True)
        try:
            yield bar.update
        finally:
            _drawn.reset(outer)
