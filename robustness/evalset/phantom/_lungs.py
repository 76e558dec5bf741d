"""The aerated lungs: vessels, hila, airways and darkness."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from robustness.evalset.phantom._anatomy import Chest, sign
from robustness.evalset.phantom._canvas import (
    Plane,
    Point,
    Sketch,
    Window,
    Y,
    cover,
    ellipse,
    jitter,
    ramp,
    texture,
)
from robustness.evalset.phantom._findings import SIDES, Findings

_AIRWAY = Window(slice(0, 120), slice(70, 154))
_FANS = {"right": (-68, -42, -16, 10, 30, 50, 70), "left": (-66, -38, -12, 14, 36, 60)}
"""Directions of the first branches in degrees below the horizontal."""


def markings(chest: Chest, rng: np.random.Generator) -> Plane:
    """Return the brightness of the vessels that branch from the hila, and of fine grain."""
    sketch = Sketch()
    for side in SIDES:
        for angle in _FANS[side]:
            start = (sign(side) * (0.15 + jitter(rng, 0.012)) + chest.shift, jitter(rng, 0.03))
            heading = math.radians(angle + jitter(rng, 7))
            _branch(sketch, rng, _Twig(start, heading, sign(side), width=2.3, length=0.17))
    grain: Plane = 0.05 * texture(rng, 2.2) + 0.035 * texture(rng, 0.7) + 0.05 * texture(rng, 8.0)
    return sketch.plane() + grain


class _Twig(NamedTuple):
    """A segment of a vessel; ``heading`` is an angle below the horizontal, outwards."""

    start: Point
    heading: float
    direction: float
    width: float
    length: float


def _branch(sketch: Sketch, rng: np.random.Generator, twig: _Twig) -> None:
    end = (
        twig.start[0] + twig.direction * twig.length * math.cos(twig.heading),
        twig.start[1] + twig.length * math.sin(twig.heading),
    )
    sketch.line((twig.start, end), twig.width, 0.17 + 0.17 * twig.width)
    if twig.width < 1:
        return
    spread = 0.22 + abs(jitter(rng, 0.16))
    for turn in (-spread, spread + jitter(rng, 0.1)):
        length = twig.length * (0.85 + jitter(rng, 0.09))
        heading, width = twig.heading + turn, 0.62 * twig.width
        _branch(sketch, rng, _Twig(end, heading, twig.direction, width, length))


def hila(chest: Chest, findings: Findings, rng: np.random.Generator) -> Plane:
    """Return the opacity of the hila, 0 to 1; a hilum is enlarged if the findings include it."""
    opacity = np.zeros_like(chest.lung)
    for side in SIDES:
        size, strength, outward = (1.65, 0.62, 0.05) if findings.hilum.on(side) else (1.0, 0.40, 0)
        x = chest.shift + sign(side) * (0.175 + outward + jitter(rng, 0.008))
        y = -0.06 - (0.05 if side == "left" else 0) + jitter(rng, 0.012)
        for down, share in ((-0.045, 0.8), (0.02, 1.0), (0.085, 0.7)):
            centre = (x + jitter(rng, 0.012), y + size * down)
            radius = 0.055 * size * share
            window, alpha = ellipse(centre, radius, 1.35 * radius, 0.6, slant=0.3 * sign(side))
            cover(opacity, window, strength * alpha)
    return opacity


def add_airway(film: Plane, chest: Chest, rng: np.random.Generator) -> None:
    """Add the trachea and the main bronchi to a film, in place."""
    carina = -0.20 + jitter(rng, 0.02)
    y = _AIRWAY.y
    # The aortic knob displaces the trachea to the patient's right.
    middle = 0.8 * chest.midline[_AIRWAY.rows] + chest.shift * ramp(y + 0.6, 0.4)
    x = _AIRWAY.x - middle + 0.016 * ramp(y + 0.45, 0.15)
    trachea = ramp(0.040 - np.abs(x), 0.018) * ramp(carina - y, 0.04)
    below = y - carina
    right = ramp(0.026 - np.abs(x + 0.62 * below), 0.02)
    left = ramp(0.022 - np.abs(x - 0.95 * below), 0.02)
    bronchi = np.maximum(right, left) * ramp(below + 0.02, 0.03) * ramp(0.13 - below, 0.05)
    _AIRWAY.of(film)[:] -= 0.10 * trachea + 0.06 * bronchi


def darkness(chest: Chest, findings: Findings) -> Plane:
    """Return the brightness that an aerated lung removes, float32 ``[SIZE, SIZE]``."""
    level = {"low": 0.335, "normal": 0.37, "high": 0.40}[findings.volume]
    shade = level * (0.92 + 0.10 * ramp(0.35 - np.abs(Y + 0.1), 0.6))
    # The beam crosses more tissue on the side that is turned towards the detector.
    tilt = np.float32(1.2 * chest.shift) * (1 - 2 * chest.is_right)
    return (shade * (1 - tilt)).astype(np.float32)
