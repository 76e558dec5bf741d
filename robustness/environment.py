"""Where a run took place: versions, commit, machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
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

PATIENCE = 10
"""Seconds that git and nvidia-smi are waited for."""

TIMED = ("robustness-gate", "torch", "open_clip_torch", "transformers")
"""The packages whose versions a timing depends on."""

GPU = {
    "index": "index",
    "name": "name",
    "driver": "driver_version",
    "sm_clock_mhz": "clocks.current.sm",
    "sm_clock_max_mhz": "clocks.max.sm",
    "memory_clock_mhz": "clocks.current.memory",
    "memory_clock_max_mhz": "clocks.max.memory",
}
"""What is kept of a GPU, by what ``nvidia-smi --query-gpu`` calls it."""

CLOCKS = ("sm_clock_mhz", "memory_clock_mhz")
"""What of that is another value at another moment."""

_QUERY = ("nvidia-smi", f"--query-gpu={','.join(GPU.values())}", "--format=csv,noheader,nounits")


def describe(root: Path) -> dict[str, Any]:
    """Versions, machine, and the commit of the repository at ``root``; imports nothing heavy."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": cores(),
        "packages": versions(),
        "commit": _git(root, "rev-parse", "HEAD"),
        "dirty": _dirty(root),
    }


def versions() -> dict[str, str | None]:
    """The versions of what results may depend on; None for what is not installed."""
    return {name: _version(name) for name in PACKAGES}


def cores() -> int | None:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()


def timing_facts() -> dict[str, Any]:
    """What a timing depends on beside what pytest-benchmark knows, such as the CPU's model.

    Nothing in it changes while the machine is the same: a comparison warns where it does.

    Returns:
        Cores, versions, the CUDA version that torch was built for (None without), and the
        machine's NVIDIA GPUs.
    """
    import torch

    return {
        "cores": cores(),
        "packages": {name: _version(name) for name in TIMED},
        "cuda": torch.version.cuda,
        "gpus": [
            {name: value for name, value in gpu.items() if name not in CLOCKS} for gpu in gpus()
        ],
    }


def gpus() -> list[dict[str, Any]]:
    """The machine's NVIDIA GPUs with their clocks at this moment, by the keys of :data:`GPU`."""
    return parse_gpus(_output(_QUERY) or "")


def parse_gpus(text: str) -> list[dict[str, Any]]:
    """The GPUs in what ``nvidia-smi`` says.

    Args:
        text: One line a GPU with the values of :data:`GPU`, by comma, without units.

    Returns:
        One a GPU, by the keys of :data:`GPU`; a value that it does not know is None.
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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _dirty(root: Path) -> bool | None:
    status = _git(root, "status", "--porcelain", "--untracked-files=no")
    return None if status is None else bool(status)


def _git(root: Path, *arguments: str) -> str | None:
    """What git says, or None where there is no git or no repository."""
    return _output(("git", "-C", str(root), *arguments))


def _output(command: Sequence[str]) -> str | None:
    """What a program of the user's own says; None where it is not there, fails or hangs."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, no shell
            command,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
