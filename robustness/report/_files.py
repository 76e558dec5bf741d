"""The files of a run: ``results.json`` for programs, ``report.html`` for people."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from robustness.errors import GateError
from robustness.files import write_whole
from robustness.report._html import html
from robustness.results import judgement_record
from robustness.verdict import Judgement, Reason, Verdict


def write(results: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Writes ``results.json`` and the page ``report.html``, each whole or not at all.

    Neither is left beside one of another run: where the page fails, it is removed, and the
    run fails and says so in its results.

    Returns:
        The results that were written: those given, or the same with the failure to report
        them as their verdict.

    Raises:
        GateError: ``results.json`` cannot be written.
    """
    data, page = directory / "results.json", directory / "report.html"
    try:
        page.unlink(missing_ok=True)
        _write_json(data, results)
    except (OSError, TypeError, ValueError) as error:
        with suppress(OSError):
            data.unlink(missing_ok=True)
        raise GateError(f"results {data} cannot be written: {_said(error)}") from error
    try:
        # What no encoding can hold, such as a file's name of undecodable bytes, is escaped.
        write_whole(page, html(results).encode(errors="backslashreplace"))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the page, there is a verdict
        results = unreported(results, f"page {page} cannot be written: {_said(error)}")
        try:
            _write_json(data, results)
        except OSError:
            # A pass that cannot be taken back in place is taken away.
            with suppress(OSError):
                data.unlink(missing_ok=True)
    return results


def forget(directory: Path) -> None:
    """Removes the files of an earlier run, so that a run that is killed leaves no verdict.

    Raises:
        GateError: They cannot be removed.
    """
    try:
        for name in ("results.json", "report.html"):
            (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise GateError(
            f"results of an earlier run in {directory} cannot be removed: {_said(error)}"
        ) from error


def unreported(results: dict[str, Any], message: str) -> dict[str, Any]:
    """The results of a run that failed since it could not say what it found."""
    return results | judgement_record(Judgement(Verdict.FAIL, Reason.REPORT_FAILED, message))


def _write_json(path: Path, results: dict[str, Any]) -> None:
    write_whole(path, (json.dumps(results, indent=2, allow_nan=False) + "\n").encode())


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror}; name another folder with --robustness-report"
    return f"{type(error).__name__}: {error}; this is an error of the gate, please report it"
