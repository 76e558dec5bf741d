"""The same work on many items, on as many threads as torch computes with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

SPINS = "3000"
"""Rounds that an idle thread of libgomp waits awake: about .2 ms."""


def wait_briefly() -> None:
    """Has idle threads of OpenMP sleep soon, unless the caller's environment says how they wait.

    It counts where torch is not loaded yet. Threads that stay awake take ten times as long
    wherever something else wants the cores; those that sleep at once are late for each of many
    small operations.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        # For the one OpenMP that knows it, before the policy.
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def each(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """A function's results for some items, in their order.

    It gains where the function lets go of Python's lock, as Pillow's resize, NumPy's copies
    and zlib's checksums do.

    Args:
        function: Called from several threads at once.
        items: What it is called with.

    Raises:
        Exception: What the function raised, for the first item that it raised for.
    """
    import torch

    items = list(items)
    threads = min(torch.get_num_threads(), len(items))
    if threads <= 1:
        return [function(item) for item in items]
    # A pool of its own each time costs 0.1 ms, and lives through no fork.
    with ThreadPoolExecutor(threads, thread_name_prefix="each") as pool:
        return list(pool.map(function, items))
