"""What the process that reports a run does: it collects, decides once, writes and shows."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from robustness.asked import asked_for, only_timings, runs
from robustness.collection import judged
from robustness.errors import GateError
from robustness.files import shortest
from robustness.options import folder, plan_of, refused, typed

if TYPE_CHECKING:
    from robustness.session import Session

_NAME = "robustness-reporter"

REFUSED = "robustness_refused"
"""Under which an xdist worker tells its controller why the run cannot be."""

ENDED = (
    pytest.ExitCode.OK,
    pytest.ExitCode.TESTS_FAILED,
    pytest.ExitCode.NO_TESTS_COLLECTED,
)
"""The exit statuses of a run that went on to its end."""


def start(config: pytest.Config) -> None:
    """Has the results of a run collected where cases are run, outside xdist's workers."""
    if runs(config) and not (hasattr(config, "workerinput") or only_timings(config)):
        config.pluginmanager.register(Reporter(config), _NAME)


def hold(session: pytest.Session) -> None:
    """Sees that a run that does not pass does not exit with 0, whatever others made of it.

    Many repositories have pytest exit with 0 where no test was selected.
    """
    reporter = session.config.pluginmanager.get_plugin(_NAME)
    if reporter is not None:
        reporter.hold(session)


class Reporter:
    """Collects records, decides once, writes and shows; absent from xdist's workers."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self._session: Session | None = None
        self._results: dict[str, Any] | None = None
        self._path: Path | None = None
        self._note = ""
        self._measured = False
        self._told: dict[str, str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Puts the verdict of a run that has not ended in the place of the last one's."""
        if any(map(judged, session.items)) or asked_for(self.config, "robustness"):
            try:
                self._begin()
            except GateError as error:
                raise refused(error) from error

    def _begin(self) -> None:
        from robustness.report import begin

        found = self._collected()
        results = found.follow(found.results(interrupted=True), interrupted=True)
        begin(results, plan_of(self.config).report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Takes note of an xdist worker that died, or that found that the run cannot be."""
        refusal = getattr(node, "workeroutput", {}).get(REFUSED)
        if refusal is not None:
            if self._session is not None:
                self._forget()
            raise pytest.UsageError(refusal)
        if error and self._session is not None:
            self._session.add_lost(node.gateway.id)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Takes in what a case measured, or that it ended without measuring."""
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
        record = getattr(report, "robustness_record", None)
        if record is not None:
            worker = getattr(report, "worker_id", "main")
            found.add(record, worker=worker, seconds=report.duration)
        elif report.when == "call" and report.passed:
            found.add_silent(name)
        if report.robustness_broken:
            found.add_broken(name, report.robustness_broken)
        elif record is not None and report.failed:
            from robustness.report import say_once

            # The last to be told of a report: JUnit has read it, and the terminal shows it later.
            text = str(report.longrepr)
            shorter = say_once(text, record, name, self._told)
            if shorter != text:
                report.longrepr = shorter

    def _collected(self) -> Session:
        from robustness.session import Session

        if self._session is None:
            self._session = Session(plan_of(self.config), self.config.rootpath)
        return self._session

    def hold(self, session: pytest.Session) -> None:
        """Sees that a run that does not pass does not exit with 0."""
        failed = self._results is not None and self._results["verdict"] != "pass"
        if failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Decides; a run that does not pass never exits with 0."""
        if not (asked_for(self.config, "robustness") or self._session is not None):
            return
        if exitstatus == pytest.ExitCode.USAGE_ERROR:
            self._forget()
            return
        from robustness.report import tell_junit, unreported, write

        cut = exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
        short = bool(session.shouldfail or session.shouldstop)
        found = self._collected()
        results = found.results(interrupted=cut, cut=short)
        results = found.follow(results, interrupted=cut)
        place = plan_of(self.config).report
        try:
            results = write(results, place)
            self._path = place / "results.json"
        except GateError as error:
            results = unreported(results, str(error))
        self._results = results
        self.hold(session)
        self._note = tell_junit(self.config, results, tests_failed=bool(session.testsfailed))

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        """One row a model and pattern, the properties, the verdict; or that nothing was asked."""
        results = self._results
        if results is None:
            if exitstatus in ENDED and not self._measured:
                self._say_unused(terminalreporter)
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

    def _forget(self) -> None:
        """Leaves no verdict of an earlier run beside a run that could not be."""
        from robustness.report import forget

        forget(folder(self.config, "report"))

    def _say_unused(self, terminalreporter: Any) -> None:
        """Says which options of the command line had nothing to be used for."""
        names = typed(self.config)
        if names:
            were = "was" if len(names) == 1 else "were"
            terminalreporter.write_line(
                f"warning: {', '.join(names)} {were} given, but no case of the gate ran;"
                " add -m robustness",
                yellow=True,
            )
