"""The pytest plugin: options, fixtures, parametrisation and hooks; no logic."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from robustness import collection, options, outcomes, preflight, process, reporter, timings

if TYPE_CHECKING:
    from robustness.gate import Gate
    from robustness.results import Record


# --- options ---------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares the ``--robustness-*`` options."""
    options.add(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Declares the markers, and reads the plan at once where the gate is asked for."""
    config.addinivalue_line("markers", "robustness: a case of the robustness gate")
    config.addinivalue_line("markers", "conformance: what every encoder must do")
    timings.declare_marker(config)
    preflight.read_plan(config)
    timings.prepare(config)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Says what the gate will measure, where it was asked for."""
    return preflight.header(config)


# --- collection ------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Has the results of a run collected, in the process that reports them."""
    reporter.start(session.config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Turns the plan into cases; a plan that cannot be read is reported after collection."""
    collection.parametrise(metafunc)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuses to run cases whose plan could not be read; skips timings that nothing can take."""
    preflight.check_collection(config, items)
    timings.skip(config, items)


# --- running ---------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Refuses a run whose every case would fail for one cause, before the first of them."""
    preflight.check_run(session)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    """Keeps the exit status of a run that does not pass, after all others."""
    result = yield
    reporter.hold(session)
    return result


@pytest.fixture(scope="session")
def robustness_gate(request: pytest.FixtureRequest) -> Iterator[Gate]:
    """The run's gate: models and the evaluation set, loaded once a process."""
    with process.opened(request.config) as gate:
        yield gate


@pytest.fixture
def robustness_record(
    request: pytest.FixtureRequest, robustness_gate: Gate
) -> Callable[[Record], None]:
    """Hands a case's record to the run's results."""
    return partial(outcomes.keep, request.node, robustness_gate)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Runs a case in the folder of the command line."""
    with process.where_asked(pyfuncitem):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """Sends a case's record along with its report, across xdist's processes too."""
    outcomes.shorten(item, call)
    report = yield
    outcomes.tell(item, call, report)
    return report


# --- timings ---------------------------------------------------------------------------


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    """Adds what a model's timings depend on to pytest-benchmark's JSON."""
    timings.add_machine(config, machine_info)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Adds the GPUs' clocks as they were when the timings ended."""
    timings.add_clocks(config, output_json)
