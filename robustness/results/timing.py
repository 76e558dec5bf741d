"""The ``timing`` block of ``results.json``, the only one that differs when a run is repeated."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from robustness._util import profile
from robustness._util.profile import Phase
from robustness.records import Activity
from robustness.records.codec import Json


def timing(
    activities: Collection[Activity], seconds: Mapping[str, float], *, setup: float, elapsed: float
) -> Json:
    """Return the timing of a run.

    Args:
        activities: One per process.
        seconds: Duration of each case and property.
        setup: Duration of their setup.
        elapsed: Duration of the run.
    """
    stores = [activity.store for activity in activities]
    return {
        "seconds": round(elapsed, 3),
        "cases": dict(sorted(seconds.items())),
        "processes": len(activities),
        "model_loads": sum(activity.model_loads for activity in activities),
        "store": {
            "found": sum(store.found for store in stores),
            "computed": sum(store.computed for store in stores),
            "damaged": sum(store.damaged for store in stores),
        },
        "profile": profile_of(activities, setup + sum(seconds.values())),
    }


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
        "phases": phases,
        "images_per_second": round(images / image_seconds, 1) if images and image_seconds else None,
        "forward_share": round(_seconds(phases, profile.FORWARD) / seconds, 4) if seconds else None,
        "peak_memory_mb": _highest(each.peak_memory_mb for each in activities),
        "peak_device_memory_mb": _highest(each.peak_device_memory_mb for each in activities),
    }


def _seconds(phases: Mapping[str, Phase], names: Iterable[str]) -> float:
    return float(sum(phases[name].seconds for name in names if name in phases))


def _highest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
