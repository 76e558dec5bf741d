"""Where a run took place: versions, commit, machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
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


def describe(root: Path) -> dict[str, Any]:
    """Versions, machine, and the commit of the repository at ``root``; imports nothing heavy."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _git(root, "rev-parse", "HEAD"),
        "dirty": _dirty(root),
    }


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
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, no shell
            ["git", "-C", str(root), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
