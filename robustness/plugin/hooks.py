"""Hooks, options and fixtures of the pytest plugin; they only delegate."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from robustness.plugin import benchmark, collection, controller, options, preflight, worker

if TYPE_CHECKING:
    from robustness.records import AnyRecord
    from robustness.run.gate import Gate


# --- options ---------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ``--robustness-*`` options."""
    options.add(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers, and read the plan if the gate is selected."""
    config.addinivalue_line("markers", "robustness: case of the robustness gate")
    config.addinivalue_line("markers", "conformance: contract that every encoder must keep")
    benchmark.declare_marker(config)
    preflight.read_plan(config)
    benchmark.prepare(config)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Describe what the gate will measure."""
    return preflight.header(config)


# --- collection ------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Register the controller, which collects the results."""
    controller.start(session.config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Generate cases from the plan; an invalid plan is reported after collection."""
    collection.parametrise(metafunc)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Abort if the plan is invalid; skip timings if pytest-benchmark is missing."""
    preflight.check_collection(config, items)
    benchmark.skip(config, items)


# --- running ---------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Abort before the first case if every case would fail for the same cause."""
    preflight.check_run(session)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    """Finish the session and enforce the exit status after all other plugins."""
    result = yield
    controller.enforce_exit_status(session)
    return result


@pytest.fixture(scope="session")
def robustness_gate(request: pytest.FixtureRequest) -> Iterator[Gate]:
    """Provide the run's gate, which loads models and the evaluation set once per worker."""
    with worker.open_gate(request.config) as gate:
        yield gate


@pytest.fixture
def robustness_record(
    request: pytest.FixtureRequest, robustness_gate: Gate
) -> Callable[[AnyRecord], None]:
    """Provide the function that adds a case's record to the results of the run."""
    return partial(worker.keep, request.node, robustness_gate)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Run a case of the suite in the invocation directory."""
    with worker.in_invocation_dir(pyfuncitem):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """Attach the case's record to its report, so that it reaches the controller."""
    worker.shorten(item, call)
    report = yield
    worker.attach(item, call, report)
    return report


# --- timings ---------------------------------------------------------------------------


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    """Add the facts that timings depend on to pytest-benchmark's JSON."""
    benchmark.add_machine(config, machine_info)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Add the GPU clocks at the end of the timings to pytest-benchmark's JSON."""
    benchmark.add_clocks(config, output_json)
