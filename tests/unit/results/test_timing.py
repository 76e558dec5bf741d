"""The timing block: the statistics of several processes, added up."""

from __future__ import annotations

import subprocess
import sys

from robustness._util.profile import Phase
from robustness.embedding import StoreCounts
from robustness.records import Activity
from robustness.records.codec import encode
from robustness.results.timing import profile_of


def process(phases=None, memory=100.0, device_memory=None):
    return Activity(
        thresholds="",
        device="cpu",
        model_loads=0,
        store=StoreCounts(),
        profile={name: Phase(*phase) for name, phase in (phases or {}).items()},
        peak_memory_mb=memory,
        peak_device_memory_mb=device_memory,
        fingerprints={},
    )


def test_a_run_of_two_processes():
    first = process({"image forward": (3.0, 600), "occlusion": (1.0, 600)}, 700.0, 4000.0)
    second = process({"image forward": (4.0, 200), "text forward": (1.0, 50)}, 900.0)
    found = profile_of([first, second], 16.0)
    assert encode(found) == {
        "seconds": 16.0,
        "phases": {
            "occlusion": {"seconds": 1.0, "items": 600},
            "image forward": {"seconds": 7.0, "items": 800},
            "text forward": {"seconds": 1.0, "items": 50},
        },
        "images_per_second": 100.0,
        "forward_share": 0.5,
        "peak_memory_mb": 900.0,
        "peak_device_memory_mb": 4000.0,
    }


def test_decoding_and_the_store_slow_no_image_down():
    phases = {"image forward": (2.0, 100), "decoding": (50.0, 100), "store": (9.0, 3)}
    assert profile_of([process(phases)], 61.0)["images_per_second"] == 50.0


def test_a_run_that_embedded_nothing_has_no_rate():
    found = profile_of([process({"ranking": (1.0, 10)})], 2.0)
    assert (found["images_per_second"], found["forward_share"]) == (None, 0.0)


def test_nothing_was_run():
    found = profile_of([], 0.0)
    assert (found["seconds"], found["phases"]) == (0.0, {})
    for name in ("images_per_second", "forward_share", "peak_memory_mb", "peak_device_memory_mb"):
        assert found[name] is None


def test_the_share_is_never_above_one():
    """A case that crashed has no seconds; what it did is in its process's profile."""
    found = profile_of([process({"image forward": (5.0, 10)})], 1.0)
    assert found["seconds"] == 5.0
    assert found["forward_share"] == 1.0


def test_memory_that_a_system_does_not_say_is_unknown():
    assert profile_of([process(memory=None)], 1.0)["peak_memory_mb"] is None


def test_a_controller_needs_no_torch():
    script = (
        "import sys, robustness.results.collector, robustness.results.timing as timing\n"
        "from robustness._util.profile import peak_device_memory, peak_memory\n"
        "peak_memory(); peak_device_memory(None); timing.profile_of([], 0.0)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
