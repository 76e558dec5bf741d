"""Controller side of a run: collect records, decide once, write and show the results."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from robustness._util.files import shortest
from robustness.errors import GateError
from robustness.plugin.collection import is_gate_item
from robustness.plugin.options import cli_option_names, folder, plan_of, usage_error
from robustness.plugin.selection import benchmark_only, runs_tests, selects_marker

if TYPE_CHECKING:
    from robustness.results.collector import Session

_NAME = "robustness-reporter"

ABORT_KEY = "robustness_refused"
"""Key of the worker output that holds the reason why an xdist worker aborted the run."""

COMPLETE = (
    pytest.ExitCode.OK,
    pytest.ExitCode.TESTS_FAILED,
    pytest.ExitCode.NO_TESTS_COLLECTED,
)
"""Exit statuses of a run that was not cut short."""


def start(config: pytest.Config) -> None:
    """Register the controller, unless no test runs or this is an xdist worker."""
    if runs_tests(config) and not (hasattr(config, "workerinput") or benchmark_only(config)):
        config.pluginmanager.register(Controller(config), _NAME)


def enforce_exit_status(session: pytest.Session) -> None:
    """Force a non-zero exit status if the gate did not pass.

    Other plugins may have set it to 0; many repositories do so if no test is selected.
    """
    controller = session.config.pluginmanager.get_plugin(_NAME)
    if controller is not None:
        controller.enforce_exit_status(session)


class Controller:
    """Collects records, decides once, writes and shows the results; not in xdist workers."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self._session: Session | None = None
        self._results: dict[str, Any] | None = None
        self._path: Path | None = None
        self._note = ""
        self._measured = False
        self._shown_causes: dict[str, str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Overwrite the results of an earlier run with an "unfinished" verdict."""
        if any(map(is_gate_item, session.items)) or selects_marker(self.config, "robustness"):
            try:
                self._begin()
            except GateError as error:
                raise usage_error(error) from error

    def _begin(self) -> None:
        from robustness.report import begin

        begin(self._collected().results(interrupted=True), plan_of(self.config).report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Record an xdist worker that died, or end the run that a worker aborted."""
        reason = getattr(node, "workeroutput", {}).get(ABORT_KEY)
        if reason is not None:
            if self._session is not None:
                self._delete_stale_results()
            raise pytest.UsageError(reason)
        if error and self._session is not None:
            self._session.add_lost(node.gateway.id)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the record of a case, or note that it ended without one."""
        self._measured |= hasattr(report, "robustness_measures")
        name = getattr(report, "robustness_name", None)
        if name is None:
            return
        if self._session is None:
            with suppress(GateError):
                self._begin()
        found = self._collected()
        if report.when == "setup":
            found.add_setup(report.duration)
        record, added = getattr(report, "robustness_record", None), None
        if record is not None:
            worker = getattr(report, "worker_id", "main")
            added = found.add(record, worker=worker, seconds=report.duration)
        elif report.when == "call" and report.passed:
            found.add_silent(name)
        if report.robustness_broken:
            found.add_error(name, report.robustness_broken)
        elif added is not None and report.failed:
            from robustness.report import without_repeats

            # This hook runs last: JUnit has read the report, and the terminal prints it later.
            text = str(report.longrepr)
            shorter = without_repeats(text, added, name, self._shown_causes)
            if shorter != text:
                report.longrepr = shorter

    def _collected(self) -> Session:
        from robustness.results.collector import Session

        if self._session is None:
            self._session = Session(plan_of(self.config), self.config.rootpath)
        return self._session

    def enforce_exit_status(self, session: pytest.Session) -> None:
        """Set the exit status to 1 if it is 0 and the verdict is not a pass."""
        failed = self._results is not None and self._results["verdict"] != "pass"
        if failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Decide the verdict, write the results and enforce the exit status."""
        if not (selects_marker(self.config, "robustness") or self._session is not None):
            return
        if exitstatus == pytest.ExitCode.USAGE_ERROR:
            self._delete_stale_results()
            return
        from robustness.report import add_to_junit, unreported, write

        cut = exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
        short = bool(session.shouldfail or session.shouldstop)
        results = self._collected().results(interrupted=cut, cut=short)
        place = plan_of(self.config).report
        try:
            results = write(results, place)
            self._path = place / "results.json"
        except GateError as error:
            results = unreported(results, str(error))
        self._results = results
        self.enforce_exit_status(session)
        self._note = add_to_junit(self.config, results, tests_failed=bool(session.testsfailed))

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        """Print the summary and the verdict, or that the gate's options had no effect."""
        results = self._results
        if results is None:
            if exitstatus in COMPLETE and not self._measured:
                self._warn_unused(terminalreporter)
            return
        from robustness.report import summary

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
        if self._path is not None:
            path = shortest(self._path)
            terminalreporter.write_line(f"results: {path}")
            if (page := path.with_name("report.html")).exists():
                terminalreporter.write_line(f"page: {page}")

    def _delete_stale_results(self) -> None:
        """Delete stale results."""
        from robustness.report import remove

        remove(folder(self.config, "report"))

    def _warn_unused(self, terminalreporter: Any) -> None:
        """Warn about options of the gate that had no effect."""
        names = cli_option_names(self.config)
        if names:
            were = "was" if len(names) == 1 else "were"
            terminalreporter.write_line(
                f"warning: {', '.join(names)} {were} given, but no case of the gate ran;"
                " add -m robustness",
                yellow=True,
            )
