"""Thread pool map, and the waiting policy of OpenMP threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

GOMP_SPIN_COUNT = "3000"
"""Iterations that an idle libgomp thread spins before it sleeps: about 0.2 ms."""


def wait_briefly() -> None:
    """Make idle OpenMP threads sleep soon, unless ``OMP_WAIT_POLICY`` is set.

    Call it before torch is imported; later it has no effect. Spinning threads take ten times as
    long if another process needs the cores; threads that sleep at once are slow to start each of
    many small operations.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        # libgomp gives this variable precedence over the policy.
        os.environ.setdefault("GOMP_SPINCOUNT", GOMP_SPIN_COUNT)


def each(function: Callable[[T], R], items: Iterable[T], *, threads: int) -> list[R]:
    """Map a function over items with several threads, in order.

    This helps if the function releases the GIL, as Pillow's resize, NumPy's copies and zlib's
    checksums do.

    Args:
        function: Called from several threads at once.
        items: Arguments of the calls.
        threads: Maximum number of threads, such as ``torch.get_num_threads()``.

    Raises:
        Exception: The error of the first item for which the function raised one.
    """
    items = list(items)
    threads = min(threads, len(items))
    if threads <= 1:
        return [function(item) for item in items]
    # A fresh pool per call (0.1 ms) is fork-safe.
    with ThreadPoolExecutor(threads, thread_name_prefix="each") as pool:
        return list(pool.map(function, items))
