"""``schema``: the JSON Schema of ``thresholds.yaml``, for editors that complete by one."""

from __future__ import annotations

import argparse
import json
import sys


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the subparsers of ``python -m robustness``."""
    parser = commands.add_parser("schema", help="the JSON Schema of thresholds.yaml")
    parser.set_defaults(run=run)


def run(_given: argparse.Namespace) -> int:
    """Prints the schema; returns the exit status."""
    from robustness.thresholds import schema

    sys.stdout.write(json.dumps(schema(), indent=2) + "\n")
    return 0
