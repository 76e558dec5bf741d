"""Shared by the tests of bounds."""

from __future__ import annotations

from robustness.thresholds import MeasurementKey, load

FILE = """\
version: 1
evalset: phantom:64
models:
  phantom: {{loader: robustness.models.phantom:load}}
  clip: {{loader: robustness.models.clip:load}}
occlusion: {{patterns: [square], fills: [black], levels: [0]}}
bounds:
  - {{require: [hit@1 >= 0, {}]}}
properties: {{bound: hit@10 >= 0.2}}
"""


KEY = MeasurementKey("phantom", "square", "black", 0.0, "image_to_report")


def read(tmp_path, text, cell=KEY):
    path = tmp_path / "thresholds.yaml"
    path.write_text(FILE.format(text))
    return load(path).bounds(cell, "phantom")[1:]
