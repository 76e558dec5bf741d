"""``table``: print a metric of a run as a Markdown table."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from robustness.errors import UsageError
from robustness.metrics import PRIMARY_METRIC, RANGES
from robustness.records.codec import Json, require_schema
from robustness.report._common import CURVE_KEY, fraction, words


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


def run(arguments: argparse.Namespace) -> int:
    """Print the table and return the exit status.

    Raises:
        UsageError: The file is not the results of a run.
    """
    try:
        results = json.loads(arguments.results.read_text(encoding="utf-8"))
        require_schema(results)
        text = _markdown(results, arguments.metric)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = {KeyError: f"key {error} is missing", TypeError: "it has another structure"}
        raise UsageError(
            f"{arguments.results} is not the results.json of a run:"
            f" {reason.get(type(error), str(error))}; run pytest -m robustness"
        ) from error
    sys.stdout.write(text + "\n")
    return 0


def _markdown(results: Json, metric: str) -> str:
    levels = list(dict.fromkeys(each["level"] for each in results["measurements"]))
    rows: dict[tuple[str, ...], Json] = {}
    for each in results["measurements"]:
        value = each["metrics"][metric]["value"] if each["metrics"] else None
        row = rows.setdefault(tuple(each[name] for name in CURVE_KEY), {})
        row[each["level"]] = fraction(value).removeprefix("0")
    lines = [
        [*CURVE_KEY, *(f"{100 * level:g} %" for level in levels)],
        ["---"] * len(CURVE_KEY) + ["---:"] * len(levels),
        *([*map(words, key), *(row[level] for level in levels)] for key, row in rows.items()),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
