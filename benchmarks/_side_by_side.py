"""Alternating runs of several methods, each in a process of its own, and their medians."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

Figures = dict[str, float]
"""Values measured in one run, by name."""


def pin(cores: int) -> None:
    """Restrict this process and its children to a number of cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def peak_megabytes() -> float:
    """Return the peak resident memory of this process (``ru_maxrss``)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(script: str, *arguments: str | Path | float) -> Figures:
    """Run a script in a process of its own; return the figures of its last line, JSON."""
    # Pending writes of the last run must not count for this one.
    os.sync()
    command = [sys.executable, script, *map(str, arguments)]
    completed = subprocess.run(  # noqa: S603
        command, check=False, capture_output=True, text=True
    )
    if completed.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{completed.stdout}\n{completed.stderr}")
    return json.loads(completed.stdout.splitlines()[-1])


def alternate(
    methods: Sequence[str], runs: int, measure: Callable[[str], Figures]
) -> dict[str, Figures]:
    """Return the median of each figure by method; every second round runs in reverse order."""
    figures: dict[str, list[Figures]] = {method: [] for method in methods}
    for number in range(runs):
        for method in methods[:: 1 if number % 2 else -1]:
            figures[method].append(measure(method))
            print(f"run {number + 1} of {runs}, {method}: {_row(figures[method][-1])}", flush=True)
    return {method: medians(rows) for method, rows in figures.items()}


def medians(rows: Sequence[Figures]) -> Figures:
    return {name: statistics.median(row.get(name, 0.0) for row in rows) for name in _names(rows)}


def _names(rows: Iterable[Figures]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _row(figures: Figures) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in figures.items())


def synchronise(device: str) -> None:
    """Wait until a GPU has finished its work."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
