"""The pytest plugin: options, fixtures, parametrisation and hooks; no logic."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard

import pytest

from robustness import environment, options, preflight
from robustness.console import terminal_of
from robustness.errors import GateError, UsageError
from robustness.frames import shown
from robustness.options import asked_for, plan_of, refused
from robustness.parallel import wait_briefly
from robustness.plan import Plan
from robustness.profile import STARTING, Profile
from robustness.properties import PROPERTIES
from robustness.report import case_properties, forget
from robustness.reporter import REFUSED, Reporter
from robustness.results import fails, said_of

if TYPE_CHECKING:
    from robustness.gate import Gate
    from robustness.results import Record

_PLAN_ERROR: pytest.StashKey[UsageError] = pytest.StashKey()
_RECORD: pytest.StashKey[Any] = pytest.StashKey()
_BROKEN: pytest.StashKey[str] = pytest.StashKey()

_FIXTURES = frozenset({"robustness_case", "robustness_model", "robustness_gate"})
"""What an item asks for that measures."""

_NO_BENCHMARK = "timings need pytest-benchmark, which was turned off or is not installed"


# --- options ---------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares the ``--robustness-*`` options."""
    options.add(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marker, and reads the plan at once where the gate is asked for."""
    config.addinivalue_line("markers", "robustness: a case of the robustness gate")
    config.addinivalue_line("markers", "conformance: what every encoder must do")
    if not _has_benchmark(config):
        config.addinivalue_line("markers", f"benchmark: {_NO_BENCHMARK}")
    if asked_for(config, "robustness") or options.given(config):
        try:
            plan_of(config)
        except pytest.UsageError:
            if asked_for(config, "robustness"):
                _forget(config)
            raise
    if asked_for(config, "benchmark"):
        _prepare_timings(config)


def _has_benchmark(config: pytest.Config) -> bool:
    return bool(config.pluginmanager.hasplugin("benchmark"))


def _prepare_timings(config: pytest.Config) -> None:
    """Has a timing run write its JSON, and refuses one that would time nothing."""
    if not _has_benchmark(config):
        raise refused(UsageError(f"-m benchmark: {_NO_BENCHMARK}; leave out -p no:benchmark"))
    if getattr(config.option, "dist", "no") != "no":
        raise refused(
            UsageError(
                "-m benchmark beside -n: processes that share a machine time each other; timings"
                " need a run without -n"
            )
        )
    if config.option.benchmark_json is None:
        directory = options.folder(config, "report")
        directory.mkdir(parents=True, exist_ok=True)
        config.option.benchmark_json = str(directory / "benchmark.json")


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    """Adds what a model's timings depend on to pytest-benchmark's JSON."""
    if asked_for(config, "benchmark"):
        machine_info["robustness"] = environment.timing_facts()


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Adds the GPUs' clocks as they were when the timings ended."""
    if asked_for(config, "benchmark"):
        output_json["gpus"] = environment.gpus()


def _forget(config: pytest.Config) -> None:
    """Leaves no verdict of an earlier run beside a run that cannot be."""
    if not config.option.collectonly:
        forget(options.folder(config, "report"))


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Says what the gate will measure, where it was asked for."""
    plan = options.known_plan(config)
    if plan is None:
        return []
    line = (
        f"robustness: {', '.join(plan.models)} on {plan.evalset}, {len(plan.cases)} cases,"
        f" device {plan.device}, {plan.precision}, thresholds {plan.thresholds.path}"
    )
    return [line]


# --- collection ------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Turns the plan into cases; a plan that cannot be read is reported after collection."""
    names = set(metafunc.fixturenames)
    if not names & {"robustness_case", "robustness_model"}:
        return
    try:
        plan: Plan | None = plan_of(metafunc.config)
    except pytest.UsageError as error:
        metafunc.config.stash[_PLAN_ERROR] = UsageError(str(error))
        plan = None
    if "robustness_case" in names:
        cases = plan.cases if plan else []
        metafunc.parametrize("robustness_case", cases, ids=[case.id for case in cases])
    if "robustness_model" in names:
        metafunc.parametrize("robustness_model", list(plan.models) if plan else [])
    if "robustness_property" in names:
        metafunc.parametrize("robustness_property", list(PROPERTIES))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuses to run cases whose plan could not be read; skips timings that nothing can take."""
    if _PLAN_ERROR in config.stash and any(map(_measures, items)):
        _refuse(config, items, pytest.UsageError(str(config.stash[_PLAN_ERROR])))
    if not _has_benchmark(config):
        for item in items:
            if _is_ours(item) and "benchmark" in item.fixturenames:
                item.add_marker(pytest.mark.skip(reason=_NO_BENCHMARK))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Refuses a run whose every case would fail for one cause, before the first of them."""
    if session.config.option.collectonly or not any(map(_measures, session.items)):
        return
    try:
        preflight.check(plan_of(session.config))
    except GateError as error:
        _refuse(session.config, session.items, refused(error))


def _measures(item: pytest.Item) -> bool:
    return not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def _is_ours(item: pytest.Item) -> TypeGuard[pytest.Function]:
    """Whether an item is a case of the suite, wherever it was imported to."""
    module = str(getattr(getattr(item, "function", None), "__module__", ""))
    return isinstance(item, pytest.Function) and module.startswith("robustness.suite.")


def _refuse(
    config: pytest.Config, items: Sequence[pytest.Item], error: pytest.UsageError
) -> NoReturn:
    """Ends the run with exit status 4; out of an xdist worker by way of its controller."""
    if any(item.get_closest_marker("robustness") for item in items):
        _forget(config)
    if hasattr(config, "workeroutput"):
        config.workeroutput[REFUSED] = str(error)
    raise error


# --- running ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def robustness_gate(request: pytest.FixtureRequest) -> Iterator[Gate]:
    """The run's gate: models and the evaluation set, loaded once a process."""
    wait_briefly()
    profile = Profile()
    with profile.phase(STARTING):
        from robustness.devices import measuring
        from robustness.gate import Gate

        # What was imported stays: the garbage collector need not look through it again.
        gc.freeze()
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    with measuring(workers):
        yield Gate(plan_of(request.config), stream=terminal_of(request.config), profile=profile)


@pytest.fixture
def robustness_record(
    request: pytest.FixtureRequest, robustness_gate: Gate
) -> Callable[[Record], None]:
    """Hands a case's record to the run's results."""

    def keep(record: Record) -> None:
        request.node.stash[_RECORD] = record | {"activity": robustness_gate.activity()}

    return keep


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """Sends a case's record along with its report, across xdist's processes too."""
    whole = item.config.getoption("fulltrace", default=False)
    if call.excinfo is not None and _is_ours(item) and not whole:
        call.excinfo.traceback = shown(call.excinfo.traceback)
    report = yield
    if _measures(item):
        report.robustness_measures = True
    if not (item.get_closest_marker("robustness") and isinstance(item, pytest.Function)):
        return report
    report.robustness_name = item.callspec.id if hasattr(item, "callspec") else item.name
    record = item.stash.get(_RECORD, None)
    if report.failed and not (record and fails(record)):
        item.stash[_BROKEN] = said_of(call)
    report.robustness_broken = item.stash.get(_BROKEN, "")
    if call.when == "call":
        report.robustness_record = record
    if call.when != "setup" and (record or report.robustness_broken):
        # Of these reports, JUnit reads the last.
        told = None if report.robustness_broken else record
        report.user_properties += case_properties(told)
    return report


def pytest_sessionstart(session: pytest.Session) -> None:
    """Starts to collect results, in the process that reports them."""
    config = session.config
    if not hasattr(config, "workerinput") and not config.option.collectonly:
        config.pluginmanager.register(Reporter(config), "robustness-reporter")
