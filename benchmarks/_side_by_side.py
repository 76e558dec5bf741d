"""What benchmarks share: a process of its own for each run, ways taking turns, their medians."""

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
"""What one run measured, by name."""


def pin(cores: int) -> None:
    """Keeps this process, and those it starts, on so many cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def peak_megabytes() -> float:
    """The most memory this process has held so far, as the kernel counts it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(script: str, *arguments: str | Path | float) -> Figures:
    """Runs a script in a process of its own; what it printed last are its figures, as JSON."""
    # What the last run left for the disk is not this one's to write.
    os.sync()
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(  # noqa: S603
        command, check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def in_turns(
    ways: Sequence[str], runs: int, measure: Callable[[str], Figures]
) -> dict[str, Figures]:
    """The median of every figure of each way; every other round goes the other way about."""
    figures: dict[str, list[Figures]] = {way: [] for way in ways}
    for number in range(runs):
        for way in ways[:: 1 if number % 2 else -1]:
            figures[way].append(measure(way))
            print(f"run {number + 1} of {runs}, {way}: {_row(figures[way][-1])}", flush=True)
    return {way: medians(rows) for way, rows in figures.items()}


def medians(rows: Sequence[Figures]) -> Figures:
    return {name: statistics.median(row.get(name, 0.0) for row in rows) for name in _names(rows)}


def _names(rows: Iterable[Figures]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _row(figures: Figures) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in figures.items())


def synchronise(device: str) -> None:
    """Waits for a GPU: what it has been given is done when this returns."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
