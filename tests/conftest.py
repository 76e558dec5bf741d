"""What the tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves the project's own tests out where only the gate is asked for.

    They import torch when they are read; the gate's collection stays light.
    """
    only_gate = config.option.markexpr in {"robustness", "benchmark"}
    if only_gate and collection_path.name.startswith("test_"):
        return collection_path.name != "test_gate.py" or None
    return None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; ROBUSTNESS_SHARED names another."""
    folder = Path(os.environ.get("ROBUSTNESS_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: real data are not at hand (set ROBUSTNESS_SHARED)")
    return folder


@pytest.fixture(scope="session")
def open_i(shared: Path) -> Path:
    """The sample of the Indiana collection."""
    return shared / "open_i"
