"""Environment of a run: package versions, commit, machine, GPUs."""

from __future__ import annotations

import os
import platform
import runpy
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = (
    "robustness-gate",
    "torch",
    "open_clip_torch",
    "transformers",
    "numpy",
    "pillow",
    "hypothesis",
    "pytest",
    "pytest-xdist",
    "pytest-benchmark",
)

TIMEOUT_S = 10
"""Timeout of git and nvidia-smi."""

TIMED = ("robustness-gate", "torch", "open_clip_torch", "transformers")
"""Packages whose versions a timing depends on."""

GPU = {
    "index": "index",
    "name": "name",
    "driver": "driver_version",
    "sm_clock_mhz": "clocks.current.sm",
    "sm_clock_max_mhz": "clocks.max.sm",
    "memory_clock_mhz": "clocks.current.memory",
    "memory_clock_max_mhz": "clocks.max.memory",
}
"""Recorded GPU fields, with their names in ``nvidia-smi --query-gpu``."""

CLOCKS = ("sm_clock_mhz", "memory_clock_mhz")
"""Fields that vary between calls."""

_QUERY = ("nvidia-smi", f"--query-gpu={','.join(GPU.values())}", "--format=csv,noheader,nounits")


def describe(root: Path) -> dict[str, Any]:
    """Return versions, machine, and the commit of the repository at ``root``.

    Nothing heavy is imported.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": cores(),
        "packages": versions(),
        "commit": _git(root, "rev-parse", "HEAD"),
        "dirty": _dirty(root),
    }


def versions() -> dict[str, str | None]:
    """Return the versions of :data:`PACKAGES`; None for those that are not installed."""
    return {name: _version(name) for name in PACKAGES}


def other_owners(package: str, distribution: str) -> list[str]:
    """Return the other installed distributions that contain a top-level package.

    Installers do not notice that two distributions install the same package: files of the one
    overwrite files of the other.

    Args:
        package: Name of the package, as imported.
        distribution: Name of the distribution that should contain it.

    Returns:
        ``NAME VERSION`` of each other distribution.
    """
    owners = set()
    for found in distributions():
        declared = found.read_text("top_level.txt")
        if declared is None:
            files = (found.read_text("RECORD") or "").splitlines()
            contained = any(line.startswith(f"{package}/") for line in files)
        else:
            contained = package in declared.split()
        if contained and found.name != distribution:
            owners.add(f"{found.name} {found.version}")
    return sorted(owners)


def cores() -> int | None:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()


def timing_facts() -> dict[str, Any]:
    """Return facts that a timing depends on and pytest-benchmark does not record.

    They are constant on one machine: a comparison warns if they differ.

    Returns:
        Cores, package versions, the CUDA version that torch was built for (or None), and the
        NVIDIA GPUs.
    """
    return {
        "cores": cores(),
        "packages": {name: _version(name) for name in TIMED},
        "cuda": _torch_cuda(),
        "gpus": [
            {name: value for name, value in gpu.items() if name not in CLOCKS} for gpu in gpus()
        ],
    }


def _torch_cuda() -> str | None:
    """Return the CUDA version that torch was built for, without importing torch."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    cuda: str | None = runpy.run_path(str(Path(spec.origin).with_name("version.py")))["cuda"]
    return cuda


def gpus() -> list[dict[str, Any]]:
    """Return the NVIDIA GPUs with their current clocks, by the keys of :data:`GPU`."""
    return parse_gpus(_output(_QUERY) or "")


def parse_gpus(text: str) -> list[dict[str, Any]]:
    """Parse the output of ``nvidia-smi``.

    Args:
        text: One line per GPU with the values of :data:`GPU`, comma-separated, without units.

    Returns:
        One dictionary per GPU with the keys of :data:`GPU`; an unknown value is None.
    """
    rows = [[value.strip() for value in line.split(",")] for line in text.splitlines()]
    return [
        {name: _gpu_value(name, value) for name, value in zip(GPU, row, strict=True)}
        for row in rows
        if len(row) == len(GPU)
    ]


def _gpu_value(name: str, value: str) -> str | int | None:
    if name == "index" or name.endswith("_mhz"):
        return int(value) if value.isdecimal() else None
    return None if not value or value.startswith("[") else value


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _dirty(root: Path) -> bool | None:
    status = _git(root, "status", "--porcelain", "--untracked-files=no")
    return None if status is None else bool(status)


def _git(root: Path, *arguments: str) -> str | None:
    """Return the output of git; None without git or a repository."""
    return _output(("git", "-C", str(root), *arguments))


def _output(command: Sequence[str]) -> str | None:
    """Return the output of a program; None if it is missing, fails or times out."""
    try:
        completed = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            command,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return completed.stdout.strip()
