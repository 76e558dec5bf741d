"""The commands of ``python -m robustness``, a module each.

A module has ``register``, which adds its subparser, and ``run``, which does the work.
"""

from __future__ import annotations

from robustness.commands import _evalset, _fetch, _schema, _table

__all__ = ["COMMANDS"]

COMMANDS = (_table, _evalset, _fetch, _schema)
"""In the order that ``--help`` lists them."""
