"""Peak memory of a process and of its device."""

from __future__ import annotations

import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest

from robustness._util import profile
from robustness._util.profile import _megabytes, peak_device_memory, peak_memory


def printed(script):
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def test_peak_memory_is_that_of_this_process_and_not_of_its_parent():
    allocated = bytearray(b"x") * 300_000_000
    before = peak_memory()
    assert before > len(allocated) / 1e6
    script = (
        "from robustness._util.profile import peak_memory\n"
        "before = peak_memory()\n"
        "allocated = bytearray(b'x') * 150_000_000\n"
        "del allocated\n"
        "print(peak_memory() - before)"
    )
    assert 130 < printed(script) < 170
    assert printed("from robustness._util.profile import peak_memory\nprint(peak_memory())") < 300


@pytest.mark.parametrize("status", [None, "Name: python\n"])
def test_peak_memory_without_proc_status(monkeypatch, tmp_path, status):
    if status:
        (tmp_path / "status").write_text(status)
    monkeypatch.setattr(profile, "_STATUS", tmp_path / "status")
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak_memory() == pytest.approx(_megabytes(usage, sys.platform), rel=0.05)


@pytest.mark.parametrize("device", [None, "cpu", "mps"])
def test_other_devices_have_no_peak_device_memory(monkeypatch, device):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert peak_device_memory(device) is None


def test_peak_device_memory_is_that_of_the_device(monkeypatch):
    allocated = {"cuda:1": 2_500_000_000}
    cuda = SimpleNamespace(max_memory_allocated=allocated.__getitem__)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert peak_device_memory("cuda:1") == 2500.0


def test_kib_but_on_macos():
    assert _megabytes(500_000, "linux") == 512.0
    assert _megabytes(512_000_000, "darwin") == 512.0
