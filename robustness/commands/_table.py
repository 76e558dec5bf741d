"""``table``: the curves of a run as Markdown."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from robustness.errors import UsageError
from robustness.metrics import PRIMARY_METRIC, RANGES


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the subparsers of ``python -m robustness``."""
    parser = commands.add_parser("table", help="the curves of a results.json as Markdown")
    parser.add_argument(
        "results",
        type=Path,
        nargs="?",
        default=Path(".robustness/report/results.json"),
        help="default: %(default)s",
    )
    parser.add_argument("--metric", choices=list(RANGES), default=PRIMARY_METRIC, metavar="METRIC")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Prints the table; returns the exit status.

    Raises:
        UsageError: The file is not the results of a run.
    """
    from robustness.report import markdown

    try:
        results = json.loads(given.results.read_text(encoding="utf-8"))
        text = markdown(results, given.metric)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{given.results} is no results.json of a run: {error}; run pytest -m robustness"
        ) from error
    sys.stdout.write(text + "\n")
    return 0
