"""Degradation curves, from the records of a run's cases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robustness import metrics, statistics
from robustness.results import Record, estimate_record


def curves_of(
    model: str, pattern: str, levels: Sequence[float], points: Sequence[Sequence[Record]]
) -> list[Record]:
    """What the levels of a model and pattern say together: one record a fill and direction.

    Args:
        model: Its name.
        pattern: The pattern's.
        levels: Rising.
        points: At each level, the ``curve`` of its case's record.
    """
    curves = []
    for place, first in enumerate(points[0]):
        along = [point[place] for point in points]
        value = np.array([point["value"] for point in along])
        resampled = np.array([point["resampled"] for point in along]).T
        measures = {
            "area_under_curve": metrics.area_under_curve,
            "level_of_half_loss": metrics.level_of_half_loss,
        }
        curves.append(
            {
                "model": model,
                "pattern": pattern,
                "fill": first["fill"],
                "direction": first["direction"],
                "metric": metrics.HEADLINE,
                **{
                    name: estimate_record(
                        statistics.Replicates(
                            measure(levels, value).item(), measure(levels, resampled)
                        ).estimate()
                    )
                    for name, measure in measures.items()
                },
            }
        )
    return curves
