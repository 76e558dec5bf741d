"""Time profile of a process by phase, and its peak memory."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

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
"""All phases, in the order in which a run enters and reports them."""

FORWARD = (IMAGES, TEXTS)
"""Phases spent in the model's forward pass."""

OF_IMAGES = (OCCLUSION, PREPROCESSING, IMAGES)
"""Phases from the decoded pixels of an image to its embedding."""


@dataclass(slots=True)
class Phase:
    """Time of a phase without its inner phases, and number of items processed."""

    seconds: float = 0.0
    items: int = 0


@dataclass(slots=True)
class Profile:
    """Seconds and items by phase.

    The time of an inner phase does not count for the outer one, so the phases add up to the
    total time of the outermost ones.

    Attributes:
        phases: Measurements so far.
        clock: Returns monotonic seconds; replaced in tests.
    """

    phases: dict[str, Phase] = field(default_factory=dict)
    clock: Callable[[], float] = time.perf_counter
    _inner: list[float] = field(default_factory=lambda: [0.0])

    @contextmanager
    def phase(self, name: str, items: int = 0) -> Iterator[None]:
        """Measure a ``with`` block as part of a phase; use it from one thread only.

        Args:
            name: One of :data:`PHASES`.
            items: Number of images, texts or queries processed; not counted if the block raises.
        """
        started = self.clock()
        self._inner.append(0.0)
        done = 0
        try:
            yield
            done = items
        finally:
            elapsed = self.clock() - started
            phase = self.phases.setdefault(name, Phase())
            phase.seconds += elapsed - self._inner.pop()
            phase.items += done
            self._inner[-1] += elapsed

    def rounded(self) -> dict[str, Phase]:
        """Return the phases with their seconds rounded to milliseconds."""
        return {
            name: Phase(round(phase.seconds, 3), phase.items) for name, phase in self.phases.items()
        }


def added(profiles: Iterable[Mapping[str, Phase]]) -> dict[str, Phase]:
    """Return the sum of the profiles of several processes, in the order of a run.

    Args:
        profiles: The phases of each process, see :meth:`Profile.rounded`.
    """
    profiles = list(profiles)
    total: dict[str, Phase] = {}
    for name in dict.fromkeys([*PHASES, *(name for each in profiles for name in each)]):
        phases = [each[name] for each in profiles if name in each]
        if phases:
            seconds = round(sum(phase.seconds for phase in phases), 3)
            total[name] = Phase(seconds, sum(phase.items for phase in phases))
    return total


# --- memory -------------------------------------------------------------------------------

_KIB, _MB = 1024, 1_000_000
_STATUS = Path("/proc/self/status")


def peak_memory() -> float | None:
    """Return the peak memory of this process in MB; None if the system does not report it."""
    # On Linux, ru_maxrss starts at the peak of the parent process.
    with suppress(OSError):
        peak = re.search(r"^VmHWM:\s*(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
        if peak:
            return round(int(peak[1]) * _KIB / _MB, 1)
    try:
        import resource
    except ImportError:  # Windows
        return None
    return _megabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, sys.platform)


def _megabytes(maxrss: int, platform: str) -> float:
    """Return ``ru_maxrss`` in MB: macOS counts bytes, others KiB."""
    return round(maxrss * (1 if platform == "darwin" else _KIB) / _MB, 1)


def peak_device_memory(device: str | None) -> float | None:
    """Return torch's peak memory on a CUDA device in MB; None for other devices.

    Args:
        device: The torch device of this process's models; None if not chosen yet.
    """
    if device is None or not device.startswith("cuda"):
        return None
    # Not imported here: a process that runs models has imported it.
    cuda = sys.modules["torch"].cuda
    return round(float(cuda.max_memory_allocated(device)) / _MB, 1)
