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
    MeasurementKey,
    ModelEntry,
    Properties,
    References,
    Regression,
    Rule,
    Thresholds,
    all_measurements,
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
    "Change",
    "MeasurementKey",
    "ModelEntry",
    "Properties",
    "References",
    "Regression",
    "Rule",
    "Stamp",
    "Thresholds",
    "all_measurements",
    "load",
    "schema",
    "unchanged_reason",
    "updated",
]
