"""``schema``: print the JSON Schema of ``thresholds.yaml``, for completion in editors."""

from __future__ import annotations

import argparse
import json
import sys


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the subparsers of ``python -m robustness``."""
    parser = commands.add_parser(
        "schema",
        help="print the JSON Schema of thresholds.yaml",
        description="Print the JSON Schema of thresholds.yaml, for validation and completion in"
        " an editor.",
    )
    parser.set_defaults(run=run)


def run(_given: argparse.Namespace) -> int:
    """Print the schema and return the exit status."""
    from robustness.thresholds import schema

    sys.stdout.write(json.dumps(schema(), indent=2) + "\n")
    return 0
