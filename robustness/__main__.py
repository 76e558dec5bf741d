"""``python -m robustness``: what is not a test."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from robustness.metrics import HEADLINE, RANGES
from robustness.report import markdown


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m robustness", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    table = commands.add_parser("table", help="the curves of a results.json as Markdown")
    table.add_argument(
        "results",
        type=Path,
        nargs="?",
        default=Path(".robustness/report/results.json"),
        help="default: %(default)s",
    )
    table.add_argument("--metric", choices=list(RANGES), default=HEADLINE, metavar="METRIC")
    given = parser.parse_args(arguments)
    try:
        results = json.loads(given.results.read_text(encoding="utf-8"))
        text = markdown(results, given.metric)
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(
            f"{given.results} is no results.json of a run: {error}; run pytest -m robustness\n"
        )
        return 2
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
