"""The files of a run: ``results.json`` for programs, ``report.html`` for people."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from robustness._util.files import write_whole
from robustness.errors import Code, ReportError
from robustness.records.codec import Json, encode
from robustness.report._html import html
from robustness.verdict.reasons import Judgement, Reason, Verdict


def write(results: Json, directory: Path) -> Json:
    """Write ``results.json`` and the page ``report.html``, each completely or not at all.

    The files are always of the same run: if the page fails, it is removed, and the run fails.

    Returns:
        The results that were written: those given, or the same with the failed page as their
        verdict.

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
        raise ReportError(f"results {data} cannot be written: {_cause(error)}") from error
    try:
        # Characters that UTF-8 cannot encode, as of an undecodable file name, are escaped.
        write_whole(page, html(results).encode(errors="backslashreplace"))
    except Exception as error:  # noqa: BLE001 - the verdict is written whatever the page's error
        message = f"page {page} cannot be written: {_cause(error)}"
        results = unreported(results, message, Reason.PAGE_FAILED)
        try:
            _write_json(data, results)
        except OSError:
            # The file may contain a pass.
            with suppress(OSError):
                data.unlink(missing_ok=True)
    return results


def begin(results: Json, directory: Path) -> None:
    """Replace the files of an earlier run by an "unfinished" verdict, without a page.

    Args:
        results: Results of a run that has measured nothing.
        directory: The folder of the results.

    Raises:
        ReportError: The file cannot be written, so the results could not be either.
    """
    message = "the run has not finished: it is still running, or it was killed"
    data = directory / "results.json"
    try:
        _write_json(data, unreported(results, message, Reason.UNFINISHED))
    except OSError as error:
        remove(directory)
        message = f"results {data} cannot be written: {_cause(error)}"
        raise ReportError(message, Code.REPORT_UNWRITABLE) from error
    # A page that cannot be removed cannot be written either, which write() reports.
    with suppress(OSError):
        (directory / "report.html").unlink(missing_ok=True)


def remove(directory: Path) -> None:
    """Remove the files of an earlier run."""
    for name in ("results.json", "report.html"):
        with suppress(OSError):
            (directory / name).unlink(missing_ok=True)


def unreported(results: Json, message: str, reason: Reason = Reason.REPORT_FAILED) -> Json:
    """Return the results with a failure to report them as their verdict."""
    return {**results, **encode(Judgement(Verdict.FAIL, reason, message))}


def _write_json(path: Path, results: Json) -> None:
    write_whole(path, (json.dumps(results, indent=2, allow_nan=False) + "\n").encode())


def _cause(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror}; name another folder with --robustness-report"
    return f"{type(error).__name__}: {error}; this is a bug of the gate, please report it"
