"""Hypothesis profiles for this project's own tests, and pytest's plugin for testing plugins."""

from __future__ import annotations

import os

import pytest

pytest_plugins = ["pytester"]


def pytest_configure(config: pytest.Config) -> None:
    """Chooses a profile; the gate needs none, and its collection does without the import."""
    if config.option.markexpr in {"robustness", "benchmark", "conformance"}:
        return
    from hypothesis import settings

    # A first example pays for importing torch, so there is no deadline; in CI every run is
    # the same run, whatever an earlier one left on the disk.
    settings.register_profile("default", deadline=None)
    settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
    settings.load_profile("ci" if os.environ.get("CI") else "default")
