"""The commands of ``python -m robustness``, one module per command.

A module has ``register``, which adds the subparser, and ``run``, which runs the command.
"""

from __future__ import annotations

from robustness.commands import _evalset, _fetch, _schema, _table

__all__ = ["COMMANDS"]

COMMANDS = (_table, _evalset, _fetch, _schema)
"""In the order of ``--help``."""
