"""What a person is told while a collection comes in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from robustness.progress import Stream, progress

UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


@dataclass(frozen=True, slots=True)
class Console:
    """Where it is told.

    Attributes:
        say: Takes one line of text.
        stream: Where bars are drawn, if it is a terminal.
    """

    say: Callable[[str], None]
    stream: Stream | None = None

    @contextmanager
    def bar(self, label: str, total: int | None, done: int = 0) -> Iterator[Callable[[int], None]]:
        """A bar over bytes; none where nobody knows how many there will be.

        Args:
            label: What is done.
            total: Bytes in all.
            done: Bytes that were there before.

        Yields:
            A function that is told how many bytes there are now.
        """
        if total is None:
            yield lambda _now: None
            return
        # A bar of 80 GB in kB would be all digits, one of 1 MB in MB would jump.
        unit, size = ("MB", 10**6) if total >= 10**7 else ("kB", 10**3)
        shown = done // size
        with progress(-(-total // size), label, unit, self.stream, done=shown) as advance:

            def show(now: int) -> None:
                nonlocal shown
                reached = -(-now // size) if now >= total else now // size
                # Told of nothing new, tqdm would take the time since then for all the time.
                if reached > shown:
                    advance(reached - shown)
                    shown = reached

            yield show


def amount(size: int) -> str:
    """A number of bytes as a person reads it, such as ``1.4 GB``."""
    for unit, value in UNITS:
        if size >= value:
            return f"{size / value:.1f} {unit}"
    return f"{size} bytes"
