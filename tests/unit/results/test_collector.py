"""Degradation curves that the collector computes from the records of cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import trapezoid

from robustness.metrics.bootstrap import Replicates
from robustness.records import CurvePoint, EstimateRecord
from robustness.results.collector import degradation_curves


def test_curves_of_a_models_records():
    """The interval of four replicates is their minimum and maximum."""
    levels = [0, 0.2, 0.4]
    grey = ([1.0, 0.8, 0.6], [[1.0, 0.9, 0.7], [1.0, 0.5, 0.4], [0.9, 0.8, 0.8], [0.8, 0.4, 0.0]])
    black = ([0.8, 0.4, 0.0], [[0.8, 0.4, 0.2], [0.8, 0.6, 0.2], [0.6, 0.0, 0.0], [1.0, 0.2, 0.0]])
    points = [
        [
            CurvePoint(fill, way, Replicates(value[i], np.array([r[i] for r in rows])))
            for fill, way, (value, rows) in (("grey", "there", grey), ("black", "back", black))
        ]
        for i in range(len(levels))
    ]
    first, second = degradation_curves("mine", "grid", levels, points)
    for curve, fill, way in ((first, "grey", "there"), (second, "black", "back")):
        assert (curve.model, curve.pattern, curve.metric) == ("mine", "grid", "hit@10")
        assert (curve.fill, curve.direction) == (fill, way)
    for found, (value, rows) in ((first, grey), (second, black)):
        areas = trapezoid([value, *rows], levels) / 0.4
        expected = {"value": areas[0], "low": areas[1:].min(), "high": areas[1:].max()}
        assert found.area_under_curve.to_json() == pytest.approx(expected)
    assert first.level_of_half_loss == EstimateRecord(None, 0.2, None)
    expected = {"value": 0.2, "low": 0.1, "high": 0.3}
    assert second.level_of_half_loss.to_json() == pytest.approx(expected)
