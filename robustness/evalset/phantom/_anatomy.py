"""The chest of one patient: the shapes of the lungs, the heart and the body.

Contours are control points: half-widths by height. The numbers were measured on frontal
radiographs whose thorax spans about three quarters of the image's width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robustness.evalset.phantom._canvas import (
    Plane,
    Point,
    X,
    Y,
    between,
    curve,
    ellipse,
    jitter,
    ramp,
    texture,
)
from robustness.evalset.phantom._findings import Findings, Side

APEX = -0.72
# fmt: off
_LATERAL = (
    (-0.74, 0.20), (-0.72, 0.30), (-0.68, 0.40), (-0.62, 0.475), (-0.52, 0.545), (-0.38, 0.61),
    (-0.2, 0.665), (0.0, 0.705), (0.2, 0.73), (0.4, 0.74), (1.0, 0.73),
)
_MEDIAL = (
    (-0.74, 0.30), (-0.72, 0.24), (-0.68, 0.175), (-0.6, 0.125), (-0.4, 0.10), (1.0, 0.09),
)
_FLANK = (
    (-1.0, 1.3), (-0.4, 1.3), (-0.2, 1.02), (0.0, 0.93), (0.3, 0.90), (0.7, 0.92), (1.0, 0.97),
)
_SHOULDER = (
    (0.0, -1.3), (0.17, -1.3), (0.22, -0.98), (0.35, -0.88), (0.6, -0.80), (0.85, -0.70),
    (1.0, -0.55),
)
# Half-widths of the silhouette above the heart by height: great vessels and aortic knob.
_VESSELS_LEFT = (
    (-1.0, 0.06), (-0.6, 0.10), (-0.5, 0.13), (-0.43, 0.175), (-0.36, 0.185), (-0.29, 0.15),
    (-0.22, 0.145), (-0.12, 0.165), (0.0, 0.15), (1.0, 0.12),
)
_VESSELS_RIGHT = (
    (-1.0, 0.06), (-0.6, 0.10), (-0.4, 0.125), (-0.2, 0.13), (0.0, 0.13), (1.0, 0.11),
)
# Half-widths of the heart by relative height, from its base (0) to the diaphragm (1).
_HEART_LEFT = (
    (-0.3, 0.0), (0.0, 0.145), (0.2, 0.20), (0.4, 0.28), (0.6, 0.345), (0.78, 0.38),
    (0.92, 0.375), (1.05, 0.33), (1.2, 0.22), (1.4, 0.1),
)
_HEART_RIGHT = (
    (-0.3, 0.0), (0.0, 0.11), (0.2, 0.15), (0.45, 0.185), (0.7, 0.195), (0.9, 0.175),
    (1.1, 0.13), (1.4, 0.1),
)
# fmt: on
_HEART_BASE = -0.2
_HEART_SCALE = (1.0, 1.22, 1.48, 1.78)
_FLOOR_SHIFT = {"low": -0.16, "normal": 0.0, "high": 0.14}


@dataclass(frozen=True, slots=True)
class Chest:
    """The shapes of one patient.

    Attributes:
        midline: x of the spine at each height, ``[SIZE, 1]``.
        shift: Displacement of the mediastinum by rotation, in x.
        outward: Distance from the midline of the thorax, at least 0.
        is_right: 1 on the patient's right (the image's left), 0 on the other side.
        lateral: Outer half-width of the lungs at each height, ``[SIZE, 1]``.
        dome: y of the diaphragm at each pixel.
        floors: y of the top of the right and of the left dome.
        lung: Fraction of lung in each pixel, including the lung behind the heart.
        heart: Fraction of heart and great vessels in each pixel.
        depth: Thickness of the heart and the vessels, 0 to 1.
        body: Fraction of the body in each pixel.
        heart_scale: Width of the heart relative to a normal one.
        abdomen: Fraction of the abdomen in each pixel.
    """

    midline: Plane
    shift: float
    outward: Plane
    is_right: Plane
    lateral: Plane
    dome: Plane
    floors: tuple[float, float]
    lung: Plane
    heart: Plane
    depth: Plane
    body: Plane
    heart_scale: float
    abdomen: Plane

    def floor(self, side: Side) -> float:
        """Return y of the top of the diaphragm on one side."""
        return self.floors[0] if side == "right" else self.floors[1]

    def half(self, side: Side) -> Plane:
        """Return the mask of the patient's side: 1 on it, 0 on the other."""
        return self.is_right if side == "right" else 1 - self.is_right


def sign(side: Side) -> float:
    """Return the direction of the patient's side in x; the patient's right is the image's left."""
    return -1.0 if side == "right" else 1.0


def draw_chest(findings: Findings, rng: np.random.Generator) -> Chest:
    """Draw a patient with the findings that change the shape of the chest."""
    midline = _midline(findings, rng)
    shift = jitter(rng, 0.010) + (0.075 * sign(findings.rotation) if findings.rotation else 0)
    offset = X - 0.55 * midline
    outward = np.abs(offset)
    is_right = (offset < 0).astype(np.float32)
    width = 1 + jitter(rng, 0.03) + (0.04 if findings.volume == "high" else 0)
    lateral = width * curve(Y - jitter(rng, 0.02), _LATERAL)
    medial = curve(Y, _MEDIAL)
    floors = _floors(findings, rng)
    flat = 0.3 if findings.volume == "high" else 1 + jitter(rng, 0.12)
    peak = 0.33 + jitter(rng, 0.02)
    bowl = 0.75 * flat * (outward - peak) ** 2 + 0.9 * flat * np.maximum(outward - 0.52, 0) ** 2
    dome = np.where(is_right > 0, np.float32(floors[0]), np.float32(floors[1])) + bowl
    lung = ramp(np.minimum(lateral - outward, outward - medial), 0.02) * ramp(dome - Y, 0.022)
    scale = _heart_scale(findings, rng)
    heart, depth = _silhouette(findings, rng, offset - 0.45 * midline - shift, floors, scale)
    body = _body(rng, between(rng, 0.95, 1.07))
    return Chest(
        midline=midline,
        shift=shift,
        outward=outward,
        is_right=is_right,
        lateral=lateral,
        dome=dome,
        floors=floors,
        lung=lung,
        heart=heart,
        depth=depth,
        body=body,
        heart_scale=scale,
        abdomen=body * ramp(Y - dome, 0.05),
    )


def soft_tissue(chest: Chest, rng: np.random.Generator) -> Plane:
    """Return the brightness without bones, as if the lungs contained no air."""
    flank = 0.95
    tissue = chest.body * (0.60 - 0.20 * np.minimum(np.abs(X) * (1 / flank), 1.15) ** 4)
    tissue += 0.03 * texture(rng, 26.0) * chest.body
    tissue += 0.015 * texture(rng, 8.0) * chest.body
    tissue += chest.abdomen * (0.12 + 0.04 * chest.is_right)
    tissue += 0.17 * chest.depth * (1 - 0.6 * chest.abdomen)
    _add_stomach_and_bowel(tissue, chest, rng)
    if rng.random() < 0.45:  # noqa: PLR2004 - about half of the patients are women
        _add_breasts(tissue, chest, rng)
    return tissue


def _midline(findings: Findings, rng: np.random.Generator) -> Plane:
    if findings.scoliosis is None:
        swing = jitter(rng, 0.008)
    else:
        swing = sign(findings.scoliosis) * (0.13 + abs(jitter(rng, 0.02)))
    bow: Plane = np.cos(np.clip((Y + 0.05) * 1.9, -np.pi / 2, np.pi / 2))
    return swing * (bow - 0.35)


def _floors(findings: Findings, rng: np.random.Generator) -> tuple[float, float]:
    level = 0.44 + _FLOOR_SHIFT[findings.volume] + jitter(rng, 0.018)
    right = level - 0.02 + jitter(rng, 0.008)
    left = level + 0.025 + jitter(rng, 0.008)
    right -= 0.24 if findings.elevated == "right" else 0
    left -= 0.26 if findings.elevated == "left" else 0
    return right, left


def _heart_scale(findings: Findings, rng: np.random.Generator) -> float:
    scale = _HEART_SCALE[findings.heart] * (1 + jitter(rng, 0.03))
    scale *= 1.06 if findings.view == "AP" else 1
    return scale * (0.88 if findings.volume == "high" else 1)


def _silhouette(
    findings: Findings,
    rng: np.random.Generator,
    offset: Plane,
    floors: tuple[float, float],
    scale: float,
) -> tuple[Plane, Plane]:
    """Return the fraction of heart and great vessels in each pixel, and their thickness."""
    bottom = 0.5 * (floors[0] + floors[1]) + 0.02
    height = Y - jitter(rng, 0.012)
    at = (height - _HEART_BASE) / (bottom - _HEART_BASE)
    left_scale, right_scale = scale * (1 + jitter(rng, 0.02)), 0.5 + 0.5 * scale
    # An enlarged heart is taller as well as wider.
    at = at * (0.93 + 0.07 * scale)
    left = np.maximum(curve(height, _VESSELS_LEFT), left_scale * curve(at, _HEART_LEFT))
    right = np.maximum(curve(height, _VESSELS_RIGHT), right_scale * curve(at, _HEART_RIGHT))
    if findings.aorta:
        left = left + 0.10 * np.exp(-(((height + 0.36) / 0.13) ** 2))
        left = left + 0.07 * np.exp(-(((height + 0.10) / 0.15) ** 2))
        right = right + 0.05 * np.exp(-(((height + 0.25) / 0.14) ** 2))
    inside = np.minimum(_smooth(left) - offset, offset + _smooth(right))
    waist = 0.5 * (left + right)
    depth = np.sqrt(np.clip(inside / (0.75 * waist), 0, 1))
    fade = ramp(Y + 0.72, 0.2)
    return ramp(inside, 0.022), depth * (0.25 + 0.75 * fade)


def _smooth(contour: Plane) -> Plane:
    """Round the corners at the control points of a contour ``[SIZE, 1]``."""
    padded = np.pad(contour[:, 0], 6, mode="edge")
    kernel = np.hanning(15)[1:-1].astype(np.float32)
    rounded = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    return rounded.astype(np.float32)[:, None]


def _body(rng: np.random.Generator, habitus: float) -> Plane:
    flank = habitus * curve(Y - jitter(rng, 0.03), _FLANK)
    shoulder = curve(np.abs(X), _SHOULDER) + jitter(rng, 0.02)
    return ramp(flank - np.abs(X), 0.035) * ramp(Y - shoulder, 0.03)


def _add_stomach_and_bowel(tissue: Plane, chest: Chest, rng: np.random.Generator) -> None:
    left_floor = chest.floors[1]
    stomach = (0.33 + jitter(rng, 0.04), left_floor + 0.15 + jitter(rng, 0.015))
    gas: list[tuple[Point, float, float, float]] = [
        (stomach, between(rng, 0.07, 0.13), between(rng, 0.04, 0.075), 0.17)
    ]
    for _ in range(int(rng.integers(2, 6))):
        spot = (between(rng, -0.6, 0.7), between(rng, max(left_floor + 0.32, 0.74), 1.0))
        gas.append((spot, between(rng, 0.05, 0.12), between(rng, 0.03, 0.06), 0.09))
    for centre, width, height, darkness in gas:
        window, share = ellipse(centre, width, height, 0.5, slant=jitter(rng, 0.4))
        window.of(tissue)[:] -= darkness * share * window.of(chest.abdomen)


def _add_breasts(tissue: Plane, chest: Chest, rng: np.random.Generator) -> None:
    size, density = between(rng, 0.26, 0.36), between(rng, 0.03, 0.09)
    drop = between(rng, 0.16, 0.34)
    for direction in (-1, 1):
        centre = (direction * (0.46 + jitter(rng, 0.02)), drop + jitter(rng, 0.02))
        window, share = ellipse(centre, size, size, 0.16)
        # The lower fold is sharp; the upper edge fades into the chest.
        fade = ramp(window.y - centre[1] + 0.1, 0.3)
        window.of(tissue)[:] += density * share * fade * window.of(chest.body)
