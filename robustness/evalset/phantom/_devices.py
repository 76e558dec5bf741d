"""Devices: lines, tubes and implants, drawn as thin bright curves."""

from __future__ import annotations

import numpy as np

from robustness.evalset.phantom._anatomy import Chest, sign
from robustness.evalset.phantom._canvas import Plane, Point, Sketch, jitter, spline
from robustness.evalset.phantom._findings import Findings, Side

_HEART_LEVEL = 0.1


def add_devices(film: Plane, chest: Chest, findings: Findings, rng: np.random.Generator) -> None:
    """Add the devices of a study to a film, in place."""
    sketch = Sketch()
    if findings.pacemaker:
        _pacemaker(sketch, chest, findings.pacemaker, rng)
    if findings.line:
        _venous_line(sketch, chest, findings.line, rng)
    if findings.drain:
        _chest_drain(sketch, findings.drain, rng)
    if findings.endotracheal_tube:
        _endotracheal_tube(sketch, chest, rng)
    if findings.gastric_tube:
        _gastric_tube(sketch, chest, rng)
    if findings.wires:
        _sternal_wires(sketch, chest, rng)
    film += 0.34 * sketch.plane()


def _wander(points: list[Point], rng: np.random.Generator, spread: float) -> list[Point]:
    return spline([(x + jitter(rng, spread), y + jitter(rng, spread)) for x, y in points])


def _pacemaker(sketch: Sketch, chest: Chest, side: Side, rng: np.random.Generator) -> None:
    s, m = sign(side), chest.shift
    x, y = s * (0.54 + jitter(rng, 0.025)), -0.47 + jitter(rng, 0.025)
    sketch.box((x, y), (0.098, 0.08), 0.8)
    sketch.box((x, y - 0.055), (0.06, 0.03), 1.0)
    entry: list[Point] = [(x - s * 0.03, y - 0.08), (s * 0.38, -0.62), (s * 0.2, -0.57)]
    trunk: list[Point] = [(m - 0.05, -0.42), (m - 0.105, -0.22)]
    to_atrium: list[Point] = [(m - 0.14, 0.04), (m - 0.09, 0.1), (m - 0.06, 0.03)]
    reach = 0.20 + 0.08 * (chest.heart_scale - 1)
    to_ventricle: list[Point] = [
        (m - 0.10, _HEART_LEVEL), (m - 0.01, 0.28), (m + reach, 0.33)
    ]  # fmt: skip
    sketch.line(_wander(entry + trunk + to_ventricle, rng, 0.008), 1.9, 0.9)
    sketch.line(_wander(entry + trunk + to_atrium, rng, 0.008), 1.6, 0.85)


def _venous_line(sketch: Sketch, chest: Chest, side: Side, rng: np.random.Generator) -> None:
    m = chest.shift
    tip = (m - 0.115, -0.04 + jitter(rng, 0.04))
    if side == "right":
        path: list[Point] = [(-0.20, -1.0), (-0.17, -0.76), (m - 0.12, -0.52), (m - 0.11, -0.3)]
    else:
        path = [(0.22, -1.0), (0.19, -0.78), (0.12, -0.58), (m - 0.02, -0.42), (m - 0.10, -0.26)]
    sketch.line(_wander([*path, tip], rng, 0.010), 1.7, 0.75)


def _chest_drain(sketch: Sketch, side: Side, rng: np.random.Generator) -> None:
    s, low = sign(side), jitter(rng, 0.05)
    path = [
        (s * 1.0, 0.34 + low), (s * 0.74, 0.24 + low), (s * 0.55, 0.02), (s * 0.43, -0.24),
        (s * 0.33, -0.46),
    ]  # fmt: skip
    tube = _wander(path, rng, 0.018)
    sketch.line(tube, 4.2, 0.34)
    sketch.line(tube, 1.3, 0.85)


def _endotracheal_tube(sketch: Sketch, chest: Chest, rng: np.random.Generator) -> None:
    x = 0.6 * chest.shift
    tip = -0.34 + jitter(rng, 0.035)
    tube = [(x + 0.01, -1.0), (x - 0.005, -0.7), (x - 0.014, tip)]
    sketch.line(tube, 4.4, 0.30)
    sketch.line([(px + 0.012, py) for px, py in tube], 1.3, 0.95)


def _gastric_tube(sketch: Sketch, chest: Chest, rng: np.random.Generator) -> None:
    m, floor = chest.shift, chest.floors[1]
    path = [
        (0.5 * m + 0.035, -1.0), (0.5 * m + 0.045, -0.6), (m + 0.03, -0.1), (m + 0.05, 0.25),
        (0.12, floor + 0.02), (0.27, floor + 0.17), (0.40, floor + 0.22),
    ]  # fmt: skip
    sketch.line(_wander(path, rng, 0.010), 2.0, 0.8)


def _sternal_wires(sketch: Sketch, chest: Chest, rng: np.random.Generator) -> None:
    for count in range(int(rng.integers(5, 8))):
        x = chest.shift * 1.15 + jitter(rng, 0.010)
        y = -0.46 + 0.115 * count + jitter(rng, 0.010)
        sketch.ring((x, y), (0.030, 0.019), 1.2, 0.9)
        sketch.line([(x - 0.012, y + 0.018), (x + 0.016, y + 0.04)], 1.3, 0.9)
