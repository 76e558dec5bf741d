"""What the process that reports a run does: it collects, decides once, writes and shows."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from robustness.errors import GateError
from robustness.files import shortest
from robustness.options import asked_for, plan_of, refused, typed
from robustness.report import (
    begin,
    forget,
    say_once,
    summary,
    tell_junit,
    unreported,
    write,
)
from robustness.session import Session

REFUSED = "robustness_refused"
"""Under which an xdist worker tells its controller why the run cannot be."""

ENDED = (
    pytest.ExitCode.OK,
    pytest.ExitCode.TESTS_FAILED,
    pytest.ExitCode.NO_TESTS_COLLECTED,
)
"""The exit statuses of a run that went on to its end."""


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
        gate = any(item.get_closest_marker("robustness") for item in session.items)
        if gate or asked_for(self.config, "robustness"):
            try:
                self._begin()
            except GateError as error:
                raise refused(error) from error

    def _begin(self) -> None:
        found = self._collected()
        results = found.follow(found.results(interrupted=True), interrupted=True)
        begin(results, plan_of(self.config).report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Takes note of an xdist worker that died, or that found that the run cannot be."""
        refusal = getattr(node, "workeroutput", {}).get(REFUSED)
        if refusal is not None:
            if self._session is not None:
                forget(self._session.plan.report)
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
            # The last to be told of a report: JUnit has read it, and the terminal shows it later.
            text = str(report.longrepr)
            shorter = say_once(text, record, name, self._told)
            if shorter != text:
                report.longrepr = shorter

    def _collected(self) -> Session:
        if self._session is None:
            self._session = Session(plan_of(self.config), self.config.rootpath)
        return self._session

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Decides; a run that does not pass never exits with 0."""
        if not (asked_for(self.config, "robustness") or self._session is not None):
            return
        if exitstatus == pytest.ExitCode.USAGE_ERROR:
            return
        cut = exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
        short = bool(session.shouldfail or session.shouldstop)
        found = self._collected()
        results = found.results(interrupted=cut, cut=short)
        results = found.follow(results, interrupted=cut)
        folder = plan_of(self.config).report
        try:
            results = write(results, folder)
            self._path = folder / "results.json"
        except GateError as error:
            results = unreported(results, str(error))
        self._results = results
        if results["verdict"] != "pass" and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        self._note = tell_junit(self.config, results, tests_failed=bool(session.testsfailed))

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        """One row a model and pattern, the properties, the verdict; or that nothing was asked."""
        results = self._results
        if results is None:
            if exitstatus in ENDED and not self._measured:
                self._say_unused(terminalreporter)
            return
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
