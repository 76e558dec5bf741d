"""The next item made in the background while the last one is worked on."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], *, background: bool) -> Generator[T]:
    """Items in their order; in the background, one of them is made ahead in a single thread.

    Args:
        items: What makes them; called from that one thread only.
        background: Whether to; otherwise each is made when it is asked for.

    Raises:
        Exception: What making an item raised, in that item's place.
    """
    if not background:
        yield from items
        return
    iterator = ((item,) for item in items)
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        coming = pool.submit(next, iterator, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, iterator, None)
            yield item[0]
