"""Hypothesis profiles and defaults of this project's own test runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

GATE_MARKERS = {"robustness", "benchmark", "conformance"}


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Distribute a bare ``pytest`` over the cores; ``-n 0``, paths and ``-m`` keep one process."""
    default = config.getini("addopts")
    bare = config.args_source is not pytest.Config.ArgsSource.ARGS
    # A worker calls this hook too: it must not start workers of its own.
    if (
        bare
        and not hasattr(config, "workerinput")
        and "PYTEST_XDIST_WORKER" not in os.environ
        and config.option.markexpr in default
        and getattr(config.option, "numprocesses", 0) is None
        and not (config.option.usepdb or config.option.collectonly)
    ):
        config.option.numprocesses = min(os.cpu_count() or 1, 4)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore tests and doctests if only the gate is selected: they import torch."""
    if config.option.markexpr not in GATE_MARKERS or collection_path.is_dir():
        return None
    folders = (config.rootpath / "tests", config.rootpath / "robustness")
    own = any(collection_path.is_relative_to(folder) for folder in folders)
    return (own and collection_path.name not in {"test_gate.py", "conftest.py"}) or None


def pytest_configure(config: pytest.Config) -> None:
    """Load a Hypothesis profile, unless only the gate runs, which does without the import."""
    if config.option.markexpr in GATE_MARKERS:
        return
    from hypothesis import settings

    # The first example imports torch, so there is no deadline. In CI every run is the same,
    # whatever an earlier run left on the disk.
    settings.register_profile("default", deadline=None)
    settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
    settings.load_profile("ci" if os.environ.get("CI") else "default")
