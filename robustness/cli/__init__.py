"""The commands of ``python -m robustness``, one module per command.

A module has ``register``, which adds the subparser, and ``run``, which runs the command.
"""

from __future__ import annotations

from robustness.cli import evalset as _evalset
from robustness.cli import fetch as _fetch
from robustness.cli import schema as _schema
from robustness.cli import table as _table

__all__ = ["COMMANDS"]

COMMANDS = (_table, _evalset, _fetch, _schema)
"""In the order of ``--help``."""
