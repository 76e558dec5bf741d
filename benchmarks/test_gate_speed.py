"""Duration of a small run of the gate, as a user starts it."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from _scratch import write_repository

pytestmark = pytest.mark.benchmark

IMAGES, LEVELS = 64, (0, 0.3)


def test_small_run(timed, tmp_path, device):
    write_repository(tmp_path, "phantom", f"phantom:{IMAGES}", LEVELS, tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-m", "robustness"]
    command += [f"--robustness-device={device}"]

    def empty():
        shutil.rmtree(tmp_path / ".robustness", ignore_errors=True)
        return (), {}

    def run():
        return subprocess.run(command, check=False, cwd=tmp_path, capture_output=True)  # noqa: S603

    completed = timed(run, setup=empty, items=len(LEVELS) * IMAGES, rounds=3)
    assert completed.returncode == 0, completed.stdout.decode()
