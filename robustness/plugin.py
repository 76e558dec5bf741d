"""The pytest plugin: options, fixtures, parametrisation and hooks; no logic."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from robustness import options
from robustness.console import terminal_of
from robustness.errors import GateError, UsageError
from robustness.files import shortest
from robustness.plan import Plan
from robustness.properties import PROPERTIES
from robustness.report import (
    begin,
    case_properties,
    forget,
    summary,
    tell_junit,
    unreported,
    write,
)
from robustness.results import fails
from robustness.session import Session

if TYPE_CHECKING:
    from robustness.gate import Gate
    from robustness.results import Record

_PLAN: pytest.StashKey[Plan] = pytest.StashKey()
_PLAN_ERROR: pytest.StashKey[UsageError] = pytest.StashKey()
_SESSION: pytest.StashKey[Session] = pytest.StashKey()
_RECORD: pytest.StashKey[Any] = pytest.StashKey()
_BROKEN: pytest.StashKey[bool] = pytest.StashKey()
_RESULTS: pytest.StashKey[dict[str, Any]] = pytest.StashKey()
_RESULTS_PATH: pytest.StashKey[Path] = pytest.StashKey()


# --- options ---------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares the ``--robustness-*`` options."""
    options.add(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marker, and reads the plan at once where the gate is asked for."""
    config.addinivalue_line("markers", "robustness: a case of the robustness gate")
    config.addinivalue_line("markers", "conformance: what every encoder must do")
    if _asked_for(config, "robustness") or options.given(config):
        try:
            _plan(config)
        except pytest.UsageError:
            if _asked_for(config, "robustness"):
                _forget(config)
            raise
    if _asked_for(config, "benchmark") and config.option.benchmark_json is None:
        directory = options.folder(config, "report")
        directory.mkdir(parents=True, exist_ok=True)
        config.option.benchmark_json = str(directory / "benchmark.json")


def _asked_for(config: pytest.Config, marker: str) -> bool:
    expression = str(config.option.markexpr)
    return marker in expression and f"not {marker}" not in expression


def _plan(config: pytest.Config) -> Plan:
    """The run's plan, read at the first use.

    Raises:
        pytest.UsageError: What is asked for is malformed or unknown.
    """
    if _PLAN not in config.stash:
        try:
            config.stash[_PLAN] = options.read_plan(config)
        except UsageError as error:
            raise _refused(error) from error
    return config.stash[_PLAN]


def _refused(error: GateError) -> pytest.UsageError:
    return pytest.UsageError(f"{error} [{error.code}]")


def _forget(config: pytest.Config) -> None:
    """Leaves no verdict of an earlier run beside a run that cannot be."""
    if not (hasattr(config, "workerinput") or config.option.collectonly):
        forget(options.folder(config, "report"))


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Says what the gate will measure, where it was asked for."""
    if _PLAN not in config.stash:
        return []
    plan = config.stash[_PLAN]
    line = (
        f"robustness: {', '.join(plan.models)} on {plan.evalset}, {len(plan.cases)} cases,"
        f" device {plan.device}, thresholds {plan.thresholds.path}"
    )
    return [line]


# --- collection ------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Turns the plan into cases; a plan that cannot be read is reported after collection."""
    names = set(metafunc.fixturenames)
    if not names & {"robustness_case", "robustness_model"}:
        return
    try:
        plan: Plan | None = _plan(metafunc.config)
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
    """Refuses to run gate cases whose plan could not be read."""
    selected = any(item.get_closest_marker("robustness") for item in items)
    if selected and _PLAN_ERROR in config.stash:
        _forget(config)
        raise pytest.UsageError(str(config.stash[_PLAN_ERROR]))


# --- running ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def robustness_gate(request: pytest.FixtureRequest) -> Iterator[Gate]:
    """The run's gate: models and the evaluation set, loaded once a process."""
    # Read when torch loads: threads that spin while they wait take ten times as long wherever
    # something else wants the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from robustness.devices import measuring
    from robustness.gate import Gate

    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    with measuring(workers):
        yield Gate(_plan(request.config), stream=terminal_of(request.config))


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
    report = yield
    if not (item.get_closest_marker("robustness") and isinstance(item, pytest.Function)):
        return report
    report.robustness_name = item.callspec.id if hasattr(item, "callspec") else item.name
    record = item.stash.get(_RECORD, None)
    if report.failed and not (record and fails(record)):
        item.stash[_BROKEN] = True
    report.robustness_broken = item.stash.get(_BROKEN, False)
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
        config.pluginmanager.register(_Reporter(config), "robustness-reporter")


class _Reporter:
    """Collects records, decides once, writes and shows; absent from xdist's workers."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self._note = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Puts the verdict of a run that has not ended in the place of the last one's."""
        gate = any(item.get_closest_marker("robustness") for item in session.items)
        if gate or _asked_for(self.config, "robustness"):
            try:
                self._begin()
            except GateError as error:
                raise _refused(error) from error

    def _begin(self) -> None:
        found = self._session()
        results = found.follow(found.results(interrupted=True), interrupted=True)
        begin(results, _plan(self.config).report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Takes note of an xdist worker that died."""
        if error and _SESSION in self.config.stash:
            self._session().add_lost(node.gateway.id)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Takes in what a case measured, or that it ended without measuring."""
        name = getattr(report, "robustness_name", None)
        if name is None:
            return
        if _SESSION not in self.config.stash:
            with suppress(GateError):
                self._begin()
        record = getattr(report, "robustness_record", None)
        if record is not None:
            worker = getattr(report, "worker_id", "main")
            self._session().add(record, worker=worker, seconds=report.duration)
        elif report.when == "call" and report.passed:
            self._session().add_silent(name)
        if report.robustness_broken:
            self._session().add_broken(name)

    def _session(self) -> Session:
        if _SESSION not in self.config.stash:
            plan = _plan(self.config)
            self.config.stash[_SESSION] = Session(plan, self.config.rootpath)
        return self.config.stash[_SESSION]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Decides; a run that does not pass never exits with 0."""
        if not (_asked_for(self.config, "robustness") or _SESSION in self.config.stash):
            return
        if exitstatus == pytest.ExitCode.USAGE_ERROR:
            return
        cut = exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
        short = bool(session.shouldfail or session.shouldstop)
        gate_session = self._session()
        results = gate_session.results(interrupted=cut, cut=short)
        results = gate_session.follow(results, interrupted=cut)
        folder = _plan(self.config).report
        try:
            results = write(results, folder)
            self.config.stash[_RESULTS_PATH] = folder / "results.json"
        except GateError as error:
            results = unreported(results, str(error))
        self.config.stash[_RESULTS] = results
        if results["verdict"] != "pass" and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        self._note = tell_junit(self.config, results, tests_failed=bool(session.testsfailed))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """One row a model and pattern, the properties, the verdict."""
        if _RESULTS not in self.config.stash:
            return
        results = self.config.stash[_RESULTS]
        terminalreporter.section("robustness", sep="=")
        for line in summary(results, terminalreporter._tw.fullwidth):
            terminalreporter.write_line(line)
        passed = results["verdict"] == "pass"
        terminalreporter.write_line(
            f"verdict: {results['verdict'].upper()} ({results['message']})",
            green=passed,
            red=not passed,
            bold=True,
        )
        if self._note:
            terminalreporter.write_line(self._note)
        if _RESULTS_PATH in self.config.stash:
            path = shortest(self.config.stash[_RESULTS_PATH])
            terminalreporter.write_line(f"results: {path}")
            if (page := path.with_name("report.html")).exists():
                terminalreporter.write_line(f"page: {page}")
