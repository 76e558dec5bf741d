"""Time and memory of a run's processes.

All of it goes into the ``timing`` block of ``results.json``; the other blocks are the same
whenever and wherever a run is repeated. The controller adds it up, so nothing here imports
torch.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from robustness._util import profile
from robustness._util.profile import Phase
from robustness.records import Activity, Json, encode

KIB, MB = 1024, 1_000_000

_STATUS = Path("/proc/self/status")


def peak_memory() -> float | None:
    """Return the peak memory of this process in MB; None if the system does not report it."""
    # On Linux, ru_maxrss starts at the peak of the parent process.
    with suppress(OSError):
        peak = re.search(r"^VmHWM:\s*(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
        if peak:
            return round(int(peak[1]) * KIB / MB, 1)
    try:
        import resource
    except ImportError:  # Windows
        return None
    return _megabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, sys.platform)


def _megabytes(maxrss: int, platform: str) -> float:
    """Return ``ru_maxrss`` in MB: macOS counts bytes, others KiB."""
    return round(maxrss * (1 if platform == "darwin" else KIB) / MB, 1)


def peak_device_memory(device: str | None) -> float | None:
    """Return torch's peak memory on a CUDA device in MB; None for other devices.

    Args:
        device: The torch device of this process's models; None if not chosen yet.
    """
    if device is None or not device.startswith("cuda"):
        return None
    # Not imported here: a process that runs models has imported it.
    cuda = sys.modules["torch"].cuda
    return round(float(cuda.max_memory_allocated(device)) / MB, 1)


def profile_of(activities: Collection[Activity], seconds: float) -> Json:
    """Return the time profile of a run.

    Args:
        activities: One per process.
        seconds: Duration of the cases and properties with their setup.

    Returns:
        ``phases``: seconds and items by phase, summed over the processes; ``seconds``: as given,
        or the sum of the phases if that is more; ``images_per_second``: images embedded per
        second of perturbation, preprocessing and image forward (without decoding and the store),
        averaged over the processes; ``forward_share``: the share of ``seconds`` spent in forward
        passes; ``peak_memory_mb`` and ``peak_device_memory_mb``: the highest of any process.
        Unknown values are None.
    """
    phases = profile.added(activity.profile for activity in activities)
    # The phases may exceed the cases: a case that crashed reports no duration.
    seconds = round(max(seconds, _seconds(phases, phases)), 3)
    images = phases[profile.IMAGES].items if profile.IMAGES in phases else 0
    image_seconds = _seconds(phases, profile.OF_IMAGES)
    return {
        "seconds": seconds,
        "phases": encode(phases),
        "images_per_second": round(images / image_seconds, 1) if images and image_seconds else None,
        "forward_share": round(_seconds(phases, profile.FORWARD) / seconds, 4) if seconds else None,
        "peak_memory_mb": _highest(activity.peak_memory_mb for activity in activities),
        "peak_device_memory_mb": _highest(
            activity.peak_device_memory_mb for activity in activities
        ),
    }


def _seconds(phases: Mapping[str, Phase], names: Iterable[str]) -> float:
    return float(sum(phases[name].seconds for name in names if name in phases))


def _highest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
