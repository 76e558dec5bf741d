"""Timing runs (``-m benchmark``): checks and additions to pytest-benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from robustness._util.files import shortest
from robustness.errors import Code, ReportError, UsageError
from robustness.plugin.collection import is_suite_item
from robustness.plugin.options import folder, thresholds, usage_error
from robustness.plugin.selection import is_listing, runs_tests, selects_marker

_NO_BENCHMARK = "timings need pytest-benchmark, which is disabled or not installed"


def declare_marker(config: pytest.Config) -> None:
    """Declare the ``benchmark`` marker if pytest-benchmark does not."""
    if not _has_benchmark(config):
        config.addinivalue_line("markers", f"benchmark: {_NO_BENCHMARK}")


def prepare(config: pytest.Config) -> None:
    """Set the JSON file of a timing run; abort a run that would time nothing.

    Raises:
        pytest.UsageError: pytest-benchmark is missing, or turns itself off because of ``-n``.
    """
    if is_listing(config) or not _is_timing_run(config):
        return
    if not _has_benchmark(config):
        raise usage_error(UsageError(f"-m benchmark: {_NO_BENCHMARK}; leave out -p no:benchmark"))
    if getattr(config.option, "dist", "no") != "no":
        raise usage_error(
            UsageError(
                "-m benchmark with -n: processes on one machine would slow each other down; run"
                " timings without -n"
            )
        )
    if config.option.benchmark_json is None and runs_tests(config):
        directory = folder(config, "report")
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise usage_error(
                ReportError(
                    f"timings {shortest(directory)} cannot be written: {error.strerror}; name"
                    " another folder with --robustness-report",
                    Code.REPORT_UNWRITABLE,
                )
            ) from error
        config.option.benchmark_json = str(directory / "benchmark.json")


def skip(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Skip the suite's timings, and no other test, if pytest-benchmark is missing."""
    if _has_benchmark(config):
        return
    for item in items:
        if is_suite_item(item) and "benchmark" in item.fixturenames:
            item.add_marker(pytest.mark.skip(reason=_NO_BENCHMARK))


def add_machine(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Add the facts that timings depend on to ``machine_info`` in pytest-benchmark's JSON."""
    if _is_timing_run(config):
        from robustness._util import environment

        machine_info["robustness"] = environment.timing_facts()


def add_clocks(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Add the GPUs, with their clocks at the end of the timings, to that JSON."""
    if _is_timing_run(config):
        from robustness._util import environment

        output_json["gpus"] = environment.gpus()


def _is_timing_run(config: pytest.Config) -> bool:
    """Return True if ``-m benchmark`` is given in a repository that has a thresholds file.

    Other repositories have benchmarks of their own under the same marker.
    """
    return selects_marker(config, "benchmark") and thresholds(config).exists()


def _has_benchmark(config: pytest.Config) -> bool:
    return bool(config.pluginmanager.hasplugin("benchmark"))
