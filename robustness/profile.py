"""Where a process's time goes, by phase."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

STARTING = "starting"
READING = "reading the set"
LOADING = "model loading"
DECODING = "decoding"
OCCLUSION = "occlusion"
PREPROCESSING = "preprocessing"
IMAGES = "image forward"
TEXTS = "text forward"
STORE = "store"
RANKING = "ranking"
INTERVALS = "intervals"

PHASES = (
    STARTING,
    READING,
    LOADING,
    DECODING,
    OCCLUSION,
    PREPROCESSING,
    IMAGES,
    TEXTS,
    STORE,
    RANKING,
    INTERVALS,
)
"""In the order of a run, which is the order they are shown in."""

FORWARD = (IMAGES, TEXTS)
"""What a model itself takes, and nothing can be saved of."""

OF_IMAGES = (OCCLUSION, PREPROCESSING, IMAGES)
"""What an occluded image takes, from decoded pixels to its embedding."""


@dataclass(slots=True)
class Phase:
    """What a phase took: seconds of its own, and how many items it did."""

    seconds: float = 0.0
    items: int = 0


@dataclass(slots=True)
class Profile:
    """Seconds and items by phase; a phase within another takes its time from it.

    So no second counts twice, and the phases add up to what the outermost of them took.

    Attributes:
        phases: What was measured so far.
        clock: Seconds since some moment; tests give another one.
    """

    phases: dict[str, Phase] = field(default_factory=dict)
    clock: Callable[[], float] = time.perf_counter
    _inner: list[float] = field(default_factory=lambda: [0.0])

    @contextmanager
    def phase(self, name: str, items: int = 0) -> Iterator[None]:
        """Counts what runs within it towards a phase; must be used from one thread.

        Args:
            name: One of :data:`PHASES`.
            items: How many images, texts or queries it does; where it fails, none is done.
        """
        started = self.clock()
        self._inner.append(0.0)
        done = 0
        try:
            yield
            done = items
        finally:
            took = self.clock() - started
            found = self.phases.setdefault(name, Phase())
            found.seconds += took - self._inner.pop()
            found.items += done
            self._inner[-1] += took

    def record(self) -> dict[str, Any]:
        """The phases as JSON values."""
        return {
            name: {"seconds": round(phase.seconds, 3), "items": phase.items}
            for name, phase in self.phases.items()
        }


def added(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The profiles of several processes as one, in the order of a run.

    Args:
        records: As :meth:`Profile.record` makes them.
    """
    records = list(records)
    names = dict.fromkeys([*PHASES, *(name for record in records for name in record)])
    found = {name: [record[name] for record in records if name in record] for name in names}
    return {
        name: {
            "seconds": round(sum(phase["seconds"] for phase in phases), 3),
            "items": sum(phase["items"] for phase in phases),
        }
        for name, phases in found.items()
        if phases
    }
