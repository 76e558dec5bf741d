"""What the timed functions share: a device, and a clock that waits for it.

pytest benchmarks -m benchmark --benchmark-json=speed.json
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from _side_by_side import synchronise

TESTS = Path(__file__).resolve().parents[1] / "tests"


def pytest_configure() -> None:
    """The published models' forms, of seeded weights, are made by the tests' own factories."""
    sys.path.append(str(TESTS))


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """Where models run: ``--robustness-device``."""
    from robustness.embedding.devices import choose_device

    return choose_device(request.config.getoption("robustness_device"))


@pytest.fixture
def timed(benchmark: Any, device: str) -> Callable[..., Any]:
    """Times rounds of a function, each to the end of what the device was given."""

    def run(
        function: Callable[..., Any], *given: Any, items: int, rounds: int = 5, **settings: Any
    ) -> Any:
        def whole(*arguments: Any) -> Any:
            result = function(*arguments)
            synchronise(device)
            return result

        if "setup" not in settings:
            settings["args"] = given
        result = benchmark.pedantic(whole, rounds=rounds, warmup_rounds=1, **settings)
        rate = items / benchmark.stats.stats.median if benchmark.stats else None
        benchmark.extra_info |= {"items": items, "items_per_second": rate, "device": device}
        return result

    return run
