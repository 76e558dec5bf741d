"""Timing runs (``-m benchmark``): what they need of pytest-benchmark, and what is added to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from robustness.asked import asked_for, listing, runs
from robustness.collection import of_suite
from robustness.errors import ReportError, UsageError
from robustness.files import shortest
from robustness.options import folder, refused, thresholds

_NO_BENCHMARK = "timings need pytest-benchmark, which was turned off or is not installed"


def declare_marker(config: pytest.Config) -> None:
    """Declares the marker of timings where pytest-benchmark does not."""
    if not _has_benchmark(config):
        config.addinivalue_line("markers", f"benchmark: {_NO_BENCHMARK}")


def prepare(config: pytest.Config) -> None:
    """Has a timing run write its JSON, and refuses one that would time nothing.

    Raises:
        pytest.UsageError: pytest-benchmark is not there, or turns itself off beside ``-n``.
    """
    if listing(config) or not _times(config):
        return
    if not _has_benchmark(config):
        raise refused(UsageError(f"-m benchmark: {_NO_BENCHMARK}; leave out -p no:benchmark"))
    if getattr(config.option, "dist", "no") != "no":
        raise refused(
            UsageError(
                "-m benchmark beside -n: processes that share a machine time each other; timings"
                " need a run without -n"
            )
        )
    if config.option.benchmark_json is None and runs(config):
        directory = folder(config, "report")
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refused(
                ReportError(
                    f"timings {shortest(directory)} cannot be written: {error.strerror}; name"
                    " another folder with --robustness-report",
                    "report_unwritable",
                )
            ) from error
        config.option.benchmark_json = str(directory / "benchmark.json")


def skip(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Skips the suite's timings, and nobody else's, where nothing can take them."""
    if _has_benchmark(config):
        return
    for item in items:
        if of_suite(item) and "benchmark" in item.fixturenames:
            item.add_marker(pytest.mark.skip(reason=_NO_BENCHMARK))


def add_machine(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Adds what a model's timings depend on to the machine in pytest-benchmark's JSON."""
    if _times(config):
        from robustness import environment

        machine_info["robustness"] = environment.timing_facts()


def add_clocks(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Adds the GPUs, their clocks as they are when the timings end, to that JSON."""
    if _times(config):
        from robustness import environment

        output_json["gpus"] = environment.gpus()


def _times(config: pytest.Config) -> bool:
    """Whether timings are asked for, of a repository that has a gate: others have their own."""
    return asked_for(config, "benchmark") and thresholds(config).exists()


def _has_benchmark(config: pytest.Config) -> bool:
    return bool(config.pluginmanager.hasplugin("benchmark"))
