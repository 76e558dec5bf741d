"""The commands of ``robustness`` (or ``python -m robustness``), one module per command.

A module has ``register``, which adds the subparser, and ``run``, which runs the command.
"""

from __future__ import annotations

from robustness.cli import evalset, schema, table

__all__ = ["COMMANDS"]

COMMANDS = (table, evalset, schema)
"""In the order of ``--help``."""
