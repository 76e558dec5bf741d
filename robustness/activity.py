"""What the processes of a run did beside measuring: the time, the memory, the store.

It goes into the ``timing`` block of ``results.json`` alone: the other blocks are the same
whenever and wherever a run is repeated. The controller adds it up, so nothing here imports
torch.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from robustness import profile
from robustness.results import Record

KIB, MB = 1024, 1_000_000

_STATUS = Path("/proc/self/status")


def peak_memory() -> float | None:
    """The most memory this process has held, in MB; None where the system does not say."""
    # Where Linux starts a program, ru_maxrss begins with the peak of the one that started it.
    with suppress(OSError):
        found = re.search(r"^VmHWM:\s*(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
        if found:
            return round(int(found[1]) * KIB / MB, 1)
    try:
        import resource
    except ImportError:  # Windows
        return None
    return _megabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, sys.platform)


def _megabytes(maxrss: int, platform: str) -> float:
    """``ru_maxrss`` in MB: macOS counts bytes, others KiB."""
    return round(maxrss * (1 if platform == "darwin" else KIB) / MB, 1)


def peak_device_memory(device: str | None) -> float | None:
    """The most memory torch has held on a CUDA device, in MB; None on others.

    Args:
        device: The torch device that this process's models run on, once it is known.
    """
    if device is None or not device.startswith("cuda"):
        return None
    # Whoever runs models there has imported it.
    cuda = sys.modules["torch"].cuda
    return round(float(cuda.max_memory_allocated(device)) / MB, 1)


def profile_of(activities: Collection[Record], seconds: float) -> Record:
    """Where the time of a run went.

    Args:
        activities: What each process did, as :meth:`robustness.gate.Gate.activity` has it.
        seconds: What the cases and properties took, with what was made before them.

    Returns:
        ``phases``: seconds and items by phase, added over the processes; ``seconds``: those
        given, in which the phases lie; ``images_per_second``: images embedded
        a second of occlusion, preprocessing and image forward, decoding and the store apart,
        on average over the processes; ``forward_share``: of ``seconds``, what the forward
        passes took; ``peak_memory_mb`` and ``peak_device_memory_mb``: the highest of any
        process. What is unknown is None.
    """
    phases = profile.added(activity["profile"] for activity in activities)
    # What a case did that ended without a record is in its process's next one.
    seconds = round(max(seconds, _seconds(phases, phases)), 3)
    images = phases.get(profile.IMAGES, {"items": 0})["items"]
    took = _seconds(phases, profile.OF_IMAGES)
    return {
        "seconds": seconds,
        "phases": phases,
        "images_per_second": round(images / took, 1) if images and took else None,
        "forward_share": round(_seconds(phases, profile.FORWARD) / seconds, 4) if seconds else None,
        "peak_memory_mb": _highest(activities, "peak_memory_mb"),
        "peak_device_memory_mb": _highest(activities, "peak_device_memory_mb"),
    }


def _seconds(phases: Mapping[str, Record], names: Collection[str]) -> float:
    return float(sum(phases[name]["seconds"] for name in names if name in phases))


def _highest(activities: Collection[Record], name: str) -> float | None:
    known = [activity[name] for activity in activities if activity[name] is not None]
    return max(known, default=None)
