"""Shared by the tests of threshold updates."""

from __future__ import annotations

from robustness.thresholds import Stamp, all_measurements

FILE = """\
# Ours.
version: 1
evalset: phantom:64   # small
models:
  phantom: {loader: robustness.models.phantom:load}
  clip: {loader: robustness.models.clip:load}
occlusion: {patterns: [square, grid], fills: [black, grey], levels: [0, 0.3]}
bounds:
  # Any model.
  - {level: 0, require: [retention(hit@10) >= 1]}
  - {model: phantom, level: 0, require: [hit@10 >= 0.5, "median_rank <= 60"]}  # clean

  - model: phantom
    pattern: square
    level: 0.3
    require:
      - hit@10 >= 0.2   # half
      - hit@10 >= 2 * chance
# The end.
properties: {bound: hit@10 >= 0.2}
"""


STAMP = Stamp({"phantom": "0123456789abcdef"}, "2026-11-24")


def case(cell, bounds, **metrics):
    known = {
        name: dict(zip(("value", "low", "high"), spread, strict=True))
        for name, spread in metrics.items()
    }
    return {
        "model": cell.model,
        "evalset": "phantom:64",
        "pattern": cell.pattern,
        "fill": cell.fill,
        "level": cell.level,
        "direction": cell.direction,
        "n": 4000,
        "metrics": known,
        "chance": {"hit@10": 0.15, "median_rank": 32.0},
        "bounds": [str(bound) for bound in bounds],
    }


def observed(thresholds, model="phantom"):
    """hit@10 and its interval fall with the level, and are lower for grey."""
    cells = []
    for cell in all_measurements(thresholds):
        if cell.model != model:
            continue
        value = 0.9 - cell.level - 0.05 * (cell.fill == "grey")
        metrics = {
            "hit@10": (value, value - 0.04, value + 0.03),
            "median_rank": (2 + 10 * cell.level, 1.0, 3 + 10 * cell.level),
            "retention(hit@10)": (1 - cell.level, 0.9 - cell.level, 1.0),
        }
        cells.append(case(cell, thresholds.bounds(cell, "phantom"), **metrics))
    return cells
