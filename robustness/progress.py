"""What a person sees of work that takes long: how far it is, how fast, how long it takes yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

WIDEST = 79
"""Columns of a bar at most, so that it stays on one line of a common terminal."""

FORMATS = {
    76: "{desc} {percentage:3.0f} % |{bar}| {n_fmt} of {total_fmt}{unit}, {rate_noinv_fmt},"
    " {remaining} left",
    68: "{desc} {percentage:3.0f} %, {n_fmt} of {total_fmt}{unit}, {rate_noinv_fmt},"
    " {remaining} left",
    0: "{desc} {percentage:3.0f} %, {remaining} left",
}
"""What is shown, by the least columns it takes; what is too long even so is cut."""


PATIENCE = 0.5
"""Seconds until a bar is drawn: of work that is done sooner, nothing flickers."""

_drawn: ContextVar[bool] = ContextVar("drawn", default=False)
"""Whether a bar is open: there is one line, and one bar on it."""


class Stream(Protocol):
    """Where a bar is drawn: a text stream that knows whether it is a terminal, and its width."""

    def write(self, text: str, /) -> object:
        """Writes text."""
        ...

    def flush(self) -> object:
        """Shows what was written."""
        ...

    def isatty(self) -> bool:
        """Whether a person watches."""
        ...

    def columns(self) -> int:
        """How wide the terminal is."""
        ...


@contextmanager
def progress(
    total: int, label: str, unit: str, stream: Stream | None = None, *, done: int = 0
) -> Iterator[Callable[[int], object]]:
    """A bar with rate and time left, on one line that is gone when the work is done.

    Nothing is drawn where there is no stream, where it is no terminal, of work within work
    that has a bar, or of work that takes less than :data:`PATIENCE`.

    Args:
        total: How many units the work has.
        label: What is done, such as ``decoding``.
        unit: What is counted, such as ``images``.
        stream: Where the bar is drawn.
        done: How many units were done before; they count for no rate.

    Yields:
        A function that is told how many units are done since it was called last. It must
        be called from one thread.
    """
    if stream is None or not stream.isatty() or _drawn.get():
        yield lambda _done: None
        return
    from tqdm import tqdm

    # tqdm's monitor would write from a thread of its own, past what guards the stream.
    bar_type = type("Bar", (tqdm,), {"monitor_interval": 0})
    columns = min(WIDEST, stream.columns() - 1)
    with bar_type(
        total=total,
        initial=done,
        desc=label,
        unit=f" {unit}",
        file=stream,
        ncols=columns,
        ascii=" #",
        bar_format=next(text for least, text in FORMATS.items() if columns >= least),
        leave=False,
        delay=PATIENCE,
    ) as bar:
        outer = _drawn.set(True)
        try:
            yield bar.update
        finally:
            _drawn.reset(outer)
