"""Thresholds: what is measured and what is required."""

from robustness.thresholds._file import load
from robustness.thresholds._values import (
    DIRECTIONS,
    Bound,
    Cell,
    ModelEntry,
    Properties,
    Rule,
    Thresholds,
    all_cells,
)

__all__ = [
    "DIRECTIONS",
    "Bound",
    "Cell",
    "ModelEntry",
    "Properties",
    "Rule",
    "Thresholds",
    "all_cells",
    "load",
]
