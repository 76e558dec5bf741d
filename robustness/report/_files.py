"""The files of a run: ``results.json`` for programs, ``report.html`` for people."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from robustness._util.files import write_whole
from robustness.errors import ReportError
from robustness.records.codec import encode
from robustness.report._html import html
from robustness.verdict.reasons import Judgement, Reason, Verdict


def write(results: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Writes ``results.json`` and the page ``report.html``, each whole or not at all.

    Neither is left beside one of another run: where the page fails, it is removed, and the
    run fails and says so in its results.

    Returns:
        The results that were written: those given, or the same with the failure to report
        them as their verdict.

    Raises:
        ReportError: ``results.json`` cannot be written.
    """
    data, page = directory / "results.json", directory / "report.html"
    try:
        page.unlink(missing_ok=True)
        _write_json(data, results)
    except (OSError, TypeError, ValueError) as error:
        with suppress(OSError):
            data.unlink(missing_ok=True)
        raise ReportError(f"results {data} cannot be written: {_said(error)}") from error
    try:
        # What no encoding can hold, such as a file's name of undecodable bytes, is escaped.
        write_whole(page, html(results).encode(errors="backslashreplace"))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the page, there is a verdict
        message = f"page {page} cannot be written: {_said(error)}"
        results = unreported(results, message, Reason.PAGE_FAILED)
        try:
            _write_json(data, results)
        except OSError:
            # A pass that cannot be taken back in place is taken away.
            with suppress(OSError):
                data.unlink(missing_ok=True)
    return results


def begin(results: dict[str, Any], directory: Path) -> None:
    """Puts a verdict in the place of an earlier run's: that this one has not ended.

    A run that is killed leaves that behind, and no page.

    Args:
        results: Of a run that has measured nothing.
        directory: Where results are written to.

    Raises:
        ReportError: It cannot be written, so what the run finds could not be either.
    """
    message = "the run has not ended: it is still going, or it was killed"
    data = directory / "results.json"
    try:
        _write_json(data, unreported(results, message, Reason.UNFINISHED))
    except OSError as error:
        forget(directory)
        message = f"results {data} cannot be written: {_said(error)}"
        raise ReportError(message, "report_unwritable") from error
    # One that cannot be removed cannot be written either, which the run's end reports.
    with suppress(OSError):
        (directory / "report.html").unlink(missing_ok=True)


def forget(directory: Path) -> None:
    """Removes the files of an earlier run, where the run that was asked for cannot be."""
    for name in ("results.json", "report.html"):
        with suppress(OSError):
            (directory / name).unlink(missing_ok=True)


def unreported(
    results: dict[str, Any], message: str, reason: Reason = Reason.REPORT_FAILED
) -> dict[str, Any]:
    """The results of a run that failed since it could not say what it found."""
    return {**results, **encode(Judgement(Verdict.FAIL, reason, message))}


def _write_json(path: Path, results: dict[str, Any]) -> None:
    write_whole(path, (json.dumps(results, indent=2, allow_nan=False) + "\n").encode())


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror}; name another folder with --robustness-report"
    return f"{type(error).__name__}: {error}; this is an error of the gate, please report it"
