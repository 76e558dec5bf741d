"""The time of a run by phase, for the terminal and for the page."""

from __future__ import annotations

from dataclasses import dataclass

from robustness._util.profile import FORWARD
from robustness.report._common import Item

WIDTH, HEIGHT, THICKNESS = 240, 22, 10

MAX_PHASES = 2
"""Number of phases that the terminal names besides the forward passes."""

MIN_SHARE = 0.01
"""Smallest share that the terminal names."""

REST = "everything else"


@dataclass(frozen=True, slots=True)
class Row:
    """One phase of the page's table.

    Attributes:
        seconds: Sum over all processes.
        share: Share of the duration of the cases.
        items: Number of items; 0 if they are not counted.
        rate: Items per second, or None if unknown.
        bar: The share, in SVG coordinates along the row.
        forward: True for a forward pass of the model.
    """

    name: str
    seconds: float
    share: float
    items: int
    rate: float | None
    bar: float
    forward: bool


def rows(timing: Item) -> list[Row]:
    """Return the phases in the order of a run, then the rest; none if nothing was run.

    Args:
        timing: ``timing`` of ``results.json``.
    """
    whole = timing["profile"]["seconds"]
    if not whole:
        return []
    phases = timing["profile"]["phases"]
    rest = max(0.0, whole - sum(phase["seconds"] for phase in phases.values()))
    return [
        Row(
            name=name,
            seconds=seconds,
            share=seconds / whole,
            items=items,
            rate=items / seconds if items and seconds else None,
            bar=round(WIDTH * seconds / whole, 1),
            forward=name in FORWARD,
        )
        for name, seconds, items in (
            *((name, phase["seconds"], phase["items"]) for name, phase in phases.items()),
            (REST, rest, 0),
        )
    ]


def time_lines(timing: Item) -> list[str]:
    """Return the time in two lines; none if nothing was run."""
    if not timing["processes"]:
        return []
    processes = f" in {timing['processes']} processes" if timing["processes"] > 1 else ""
    time = f"time: {timing['seconds']:.1f} s{processes}"
    shares = ", ".join(_shares(timing))
    return ["; ".join(filter(None, [time, shares])), "; ".join([*memory(timing), store(timing)])]


def _shares(timing: Item) -> list[str]:
    """Return the share of the forward passes, of the longest other phases, and of the rest."""
    phases = rows(timing)
    if not phases:
        return []
    forward = sum(row.share for row in phases if row.forward)
    others = [row for row in phases if not row.forward and row.name != REST]
    longest = sorted(others, key=lambda row: -row.share)[:MAX_PHASES]
    rate = speed(timing)
    parts = [
        (forward, f"forward passes{f' ({rate})' if rate else ''}"),
        *((row.share, row.name) for row in longest),
        (1 - forward - sum(row.share for row in longest), "other"),
    ]
    return [f"{100 * share:.0f} % {name}" for share, name in parts if share >= MIN_SHARE]


def speed(timing: Item) -> str:
    """Return images per second, averaged over the processes; empty if unknown."""
    rate = timing["profile"]["images_per_second"]
    return "" if rate is None else f"{number(rate)} images/s{_per_process(timing)}"


def memory(timing: Item) -> list[str]:
    """Return the known peaks of memory."""
    names = {"memory": "peak_memory_mb", "GPU memory": "peak_device_memory_mb"}
    peaks = {name: timing["profile"][key] for name, key in names.items()}
    return [
        f"peak {name} {peak:,.0f} MB{_per_process(timing)}"
        for name, peak in peaks.items()
        if peak is not None
    ]


def _per_process(timing: Item) -> str:
    return " per process" if timing["processes"] > 1 else ""


def store(timing: Item) -> str:
    """Return the number of entries that were found in the store, computed and damaged."""
    counts = timing["store"]
    damaged = f", {counts['damaged']} damaged" if counts["damaged"] else ""
    return f"store {counts['found']} found, {counts['computed']} computed{damaged}"


def number(value: float) -> str:
    """Return a number with at least three digits, or one decimal."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"  # noqa: PLR2004
