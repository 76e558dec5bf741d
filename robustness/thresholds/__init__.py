"""Thresholds: models, perturbations and bounds, read from and written to ``thresholds.yaml``."""

from robustness.thresholds._bounds import LOWER_IS_BETTER
from robustness.thresholds._file import load
from robustness.thresholds._schema import schema
from robustness.thresholds._update import Change, Stamp, unchanged_reason, updated
from robustness.thresholds._values import (
    ALPHA,
    CHANCE,
    DIRECTIONS,
    MARGIN,
    NON_INFERIORITY_ALPHA,
    REGRESSION_METRICS,
    Bound,
    Cell,
    ModelEntry,
    Properties,
    References,
    Regression,
    Rule,
    Thresholds,
    all_cells,
)

__all__ = [
    "ALPHA",
    "CHANCE",
    "DIRECTIONS",
    "LOWER_IS_BETTER",
    "MARGIN",
    "NON_INFERIORITY_ALPHA",
    "REGRESSION_METRICS",
    "Bound",
    "Cell",
    "Change",
    "ModelEntry",
    "Properties",
    "References",
    "Regression",
    "Rule",
    "Stamp",
    "Thresholds",
    "all_cells",
    "load",
    "schema",
    "unchanged_reason",
    "updated",
]
