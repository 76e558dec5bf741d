"""``table``: print the metric of each model and level of a run as Markdown."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from robustness.errors import UsageError
from robustness.metrics import PRIMARY_METRIC, RANGES


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the subparsers of ``python -m robustness``."""
    parser = commands.add_parser(
        "table",
        help="print a results.json as a Markdown table",
        description="Print a metric of a run as a Markdown table: one row per model, pattern, fill"
        " and direction, one column per occlusion level.",
    )
    parser.add_argument(
        "results",
        type=Path,
        nargs="?",
        default=Path(".robustness/report/results.json"),
        metavar="RESULTS",
        help="results.json of a run (default: %(default)s)",
    )
    parser.add_argument(
        "--metric",
        choices=list(RANGES),
        default=PRIMARY_METRIC,
        metavar="METRIC",
        help="such as hit@1, mrr or median_rank; an unknown name lists all (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Print the table and return the exit status.

    Raises:
        UsageError: The file is not the results of a run.
    """
    from robustness.records.codec import require_schema
    from robustness.report import markdown

    try:
        results = json.loads(given.results.read_text(encoding="utf-8"))
        require_schema(results)
        text = markdown(results, given.metric)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = {KeyError: f"key {error} is missing", TypeError: "it has another structure"}
        raise UsageError(
            f"{given.results} is not the results.json of a run:"
            f" {reason.get(type(error), str(error))}; run pytest -m robustness"
        ) from error
    sys.stdout.write(text + "\n")
    return 0
