"""What processes did, added up for the timing block."""

from __future__ import annotations

import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest

from robustness._util.profile import Phase
from robustness.embedding import StoreCounts
from robustness.records import Activity
from robustness.results import timing as activity
from robustness.results.timing import peak_device_memory, peak_memory, profile_of


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
    assert found == {
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


def test_kib_but_on_macos():
    assert activity._megabytes(500_000, "linux") == 512.0
    assert activity._megabytes(512_000_000, "darwin") == 512.0


def printed(script):
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def test_peak_memory_is_that_of_this_process_and_not_of_the_one_that_started_it():
    held = bytearray(b"x") * 300_000_000
    before = peak_memory()
    assert before > len(held) / 1e6
    script = (
        "from robustness.results.timing import peak_memory\n"
        "before = peak_memory()\n"
        "held = bytearray(b'x') * 150_000_000\n"
        "del held\n"
        "print(peak_memory() - before)"
    )
    assert 130 < printed(script) < 170
    assert printed("from robustness.results.timing import peak_memory\nprint(peak_memory())") < 300


@pytest.mark.parametrize("status", [None, "Name: python\n"])
def test_a_system_that_keeps_no_such_file_is_asked_otherwise(monkeypatch, tmp_path, status):
    if status:
        (tmp_path / "status").write_text(status)
    monkeypatch.setattr(activity, "_STATUS", tmp_path / "status")
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak_memory() == pytest.approx(activity._megabytes(usage, sys.platform), rel=0.05)


@pytest.mark.parametrize("device", [None, "cpu", "mps"])
def test_devices_that_are_not_cuda_are_not_asked(monkeypatch, device):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert peak_device_memory(device) is None


def test_a_cuda_device_is_asked_by_its_number(monkeypatch):
    held = {"cuda:1": 2_500_000_000}
    cuda = SimpleNamespace(max_memory_allocated=held.__getitem__)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert peak_device_memory("cuda:1") == 2500.0


def test_a_controller_needs_no_torch():
    script = (
        "import sys, robustness.results.collector, robustness.results.timing as a\n"
        "a.peak_memory(); a.peak_device_memory(None); a.profile_of([], 0.0)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
