"""Where the time of a run went, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robustness._util.profile import FORWARD

WIDTH, HEIGHT, THICK = 240, 22, 10

SHOWN = 2
"""Phases that the terminal names beside the forward passes."""

LEAST = 0.01
"""The share below which it names none."""

REST = "everything else"

Timing = Mapping[str, Any]
"""``timing`` of ``results.json``."""


@dataclass(frozen=True, slots=True)
class Row:
    """One phase of the page's table.

    Attributes:
        name: The phase's.
        seconds: What it took, over all processes.
        share: Of what the cases took.
        items: How many it did; 0 where they are not counted.
        rate: Items a second, or None where it is unknown.
        bar: The share, in SVG coordinates along the row.
        forward: Whether it is the model's own work.
    """

    name: str
    seconds: float
    share: float
    items: int
    rate: float | None
    bar: float
    forward: bool


def rows(timing: Timing) -> list[Row]:
    """The phases in the order of a run, and what lies in none; none where nothing was run."""
    profile = timing["profile"]
    whole = profile["seconds"]
    if not whole:
        return []
    phases = profile["phases"]
    rest = max(0.0, whole - sum(phase["seconds"] for phase in phases.values()))
    return [
        _row(name, phase["seconds"], phase["items"], whole)
        for name, phase in (*phases.items(), (REST, {"seconds": rest, "items": 0}))
    ]


def _row(name: str, seconds: float, items: int, whole: float) -> Row:
    share = seconds / whole
    return Row(
        name=name,
        seconds=seconds,
        share=share,
        items=items,
        rate=items / seconds if items and seconds else None,
        bar=round(WIDTH * share, 1),
        forward=name in FORWARD,
    )


def time_lines(timing: Timing) -> list[str]:
    """The time in two lines; none where nothing was run."""
    if not timing["processes"]:
        return []
    processes = f" in {timing['processes']} processes" if timing["processes"] > 1 else ""
    shares = ", ".join(_shares(timing))
    lines = [f"time: {timing['seconds']:.1f} s{processes}{'; ' if shares else ''}{shares}"]
    return [*lines, "; ".join([*memory(timing), store(timing)])]


def _shares(timing: Timing) -> list[str]:
    """The forward passes, what else took most, and the rest."""
    found = rows(timing)
    if not found:
        return []
    forward = sum(row.share for row in found if row.forward)
    others = [row for row in found if not row.forward and row.name != REST]
    named = sorted(others, key=lambda row: -row.share)[:SHOWN]
    rate = speed(timing)
    parts = [
        (forward, f"forward passes{f' ({rate})' if rate else ''}"),
        *((row.share, row.name) for row in named),
        (1 - forward - sum(row.share for row in named), "else"),
    ]
    return [f"{100 * share:.0f} % {what}" for share, what in parts if share >= LEAST]


def speed(timing: Timing) -> str:
    """Images a second, of each of several processes on average; empty where it is unknown."""
    rate = timing["profile"]["images_per_second"]
    each = " a process" if timing["processes"] > 1 else ""
    return "" if rate is None else f"{number(rate)} images/s{each}"


def memory(timing: Timing) -> list[str]:
    """The peaks that are known."""
    each = " a process" if timing["processes"] > 1 else ""
    peaks = {"memory": "peak_memory_mb", "GPU memory": "peak_device_memory_mb"}
    known = {what: timing["profile"][name] for what, name in peaks.items()}
    return [f"peak {what} {peak:,.0f} MB{each}" for what, peak in known.items() if peak is not None]


def store(timing: Timing) -> str:
    """What the store had, and what it lacked."""
    counts = timing["store"]
    damaged = f", {counts['damaged']} damaged" if counts["damaged"] else ""
    return f"store {counts['found']} found, {counts['computed']} computed{damaged}"


def number(value: float) -> str:
    """A number with three digits at least, or a tenth."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"  # noqa: PLR2004
