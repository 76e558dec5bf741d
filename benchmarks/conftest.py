"""Fixtures of the timed functions: a device, and a timer that synchronises it.

pytest benchmarks -m benchmark --benchmark-json=speed.json
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def pytest_configure() -> None:
    """Make the scripts of this folder importable; pytest's importlib mode does not."""
    sys.path.append(str(Path(__file__).resolve().parent))


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """Return the device of ``--robustness-device``."""
    from robustness.embedding.devices import choose_device

    return choose_device(request.config.getoption("robustness_device"))


@pytest.fixture
def timed(benchmark: Any, device: str) -> Callable[..., Any]:
    """Return a function that times rounds of another, each until the device has finished."""
    from _side_by_side import synchronise

    def run(
        function: Callable[..., Any], *args: Any, items: int, rounds: int = 5, **settings: Any
    ) -> Any:
        def synchronised(*arguments: Any) -> Any:
            result = function(*arguments)
            synchronise(device)
            return result

        if "setup" not in settings:
            settings["args"] = args
        result = benchmark.pedantic(synchronised, rounds=rounds, warmup_rounds=1, **settings)
        rate = items / benchmark.stats.stats.median if benchmark.stats else None
        benchmark.extra_info |= {"items": items, "items_per_second": rate, "device": device}
        return result

    return run
