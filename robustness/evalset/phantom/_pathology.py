"""Appearance of disease: lung opacities, free air, a hernia and subcutaneous emphysema."""

from __future__ import annotations

import numpy as np

from robustness.evalset.phantom._anatomy import Chest, sign
from robustness.evalset.phantom._canvas import (
    Plane,
    Point,
    Window,
    X,
    Y,
    between,
    cover,
    curve,
    ellipse,
    jitter,
    ramp,
    texture,
)
from robustness.evalset.phantom._findings import SIDES, ZONES, Findings, Place, Side

_WHOLE = Window(slice(None), slice(None))
_OUTWARD = {"upper": 0.33, "mid": 0.46, "lower": 0.45}
_HEIGHT = {"upper": -0.42, "mid": -0.07, "lower": 0.27}
_FLUID_HEIGHT = (0.0, 0.07, 0.27, 0.58)
_COLLAPSE = (0.0, 0.15, 0.32)


def opacities(chest: Chest, findings: Findings, rng: np.random.Generator) -> Plane:
    """Return the fraction of the lungs' air that is replaced, 0 to 1, ``[SIZE, SIZE]``."""
    opacity = np.zeros_like(chest.lung)
    for place in findings.consolidations:
        _add_consolidation(opacity, chest, place, rng)
    if findings.oedema:
        _add_oedema(opacity, chest, findings.oedema, rng)
    for side in findings.effusion.sides:
        _add_effusion(opacity, chest, side, findings.effusion.on(side), rng)
    if findings.mass is not None:
        radius = 0.115 + abs(jitter(rng, 0.018))
        _add_lump(opacity, _point(chest, findings.mass, rng, 0.03), radius, rng)
    if findings.nodule is not None:
        radius = 0.044 + abs(jitter(rng, 0.007))
        _add_lump(opacity, _point(chest, findings.nodule, rng, 0.045), radius, rng)
    if findings.many_nodules:
        _add_many_nodules(opacity, chest, rng)
    for side in findings.atelectasis.sides:
        _add_bands(opacity, chest, side, rng)
    return np.minimum(opacity, 0.97)


def _point(chest: Chest, place: Place, rng: np.random.Generator, spread: float) -> Point:
    outward = _OUTWARD[place.zone] + jitter(rng, spread)
    height = min(_HEIGHT[place.zone], chest.floor(place.side) - 0.14)
    return sign(place.side) * outward, height + jitter(rng, spread)


def _add_consolidation(
    opacity: Plane, chest: Chest, place: Place, rng: np.random.Generator
) -> None:
    x, y = _point(chest, place, rng, 0.035)
    cloud = 0.55 + 0.22 * texture(rng, 8.0) + 0.12 * texture(rng, 2.2)
    density = between(rng, 0.75, 1.05)
    # Overlapping ellipses: no two outlines are equal.
    for _ in range(4):
        centre = (x + jitter(rng, 0.055), y + jitter(rng, 0.05))
        window, share = ellipse(
            centre, between(rng, 0.11, 0.18), between(rng, 0.09, 0.15), 0.6, jitter(rng, 0.3)
        )
        alpha = density * share * window.of(cloud)
        cover(opacity, window, np.clip(alpha, 0, 0.8))


def _add_oedema(opacity: Plane, chest: Chest, grade: int, rng: np.random.Generator) -> None:
    strength = (0.0, 0.33, 0.60)[grade] * between(rng, 0.88, 1.1)
    spread = ((chest.outward - 0.24) * (1 / 0.30)) ** 2 + ((Y - 0.02) * (1 / 0.42)) ** 2
    haze = strength * np.exp(-spread) * (1 + 0.28 * texture(rng, 8.0) + 0.2 * texture(rng, 2.2))
    cover(opacity, _WHOLE, np.clip(haze, 0, 0.85))
    ripple = (Y * (1 / 0.075) + 0.15 * texture(rng, 8.0)) % 1
    edge = chest.lateral - chest.outward
    septal = ramp(0.13 - np.abs(ripple - 0.5), 0.1) * ramp(0.10 - edge, 0.02)
    cover(opacity, _WHOLE, 0.5 * strength * septal * ramp(Y - 0.02, 0.06))


def _add_effusion(
    opacity: Plane, chest: Chest, side: Side, grade: int, rng: np.random.Generator
) -> None:
    surface = chest.floor(side) - _FLUID_HEIGHT[grade] + jitter(rng, 0.02)
    # Fluid rises along the chest wall: the surface is a meniscus.
    climb = 0.19 if grade == 1 else 0.15
    meniscus = surface - climb * np.clip((chest.outward - 0.36) * (1 / 0.35), 0, 1) ** 2
    meniscus = meniscus + 0.06 * (0.5 - chest.outward) + 0.006 * texture(rng, 8.0)
    fluid = ramp(Y - meniscus, 0.045) * chest.half(side)
    cover(opacity, _WHOLE, np.float32(0.96) * fluid)


def _add_lump(opacity: Plane, centre: Point, radius: float, rng: np.random.Generator) -> None:
    window, share = ellipse(
        centre, radius, radius * (1 + jitter(rng, 0.1)), between(rng, 0.14, 0.24), jitter(rng, 0.2)
    )
    cover(opacity, window, between(rng, 0.76, 0.9) * share)
    for _ in range(3):
        rim = (centre[0] + jitter(rng, 0.55 * radius), centre[1] + jitter(rng, 0.55 * radius))
        window, share = ellipse(rim, 0.6 * radius, 0.6 * radius, 0.3)
        cover(opacity, window, np.float32(0.5) * share)


def _add_many_nodules(opacity: Plane, chest: Chest, rng: np.random.Generator) -> None:
    for count in range(int(rng.integers(8, 13))):
        place = Place(SIDES[count % 2], ZONES[int(rng.integers(3))])
        centre = _point(chest, place, rng, 0.09)
        _add_lump(opacity, centre, 0.034 + abs(jitter(rng, 0.007)), rng)


def _add_bands(opacity: Plane, chest: Chest, side: Side, rng: np.random.Generator) -> None:
    for step in range(2):
        height = chest.floor(side) - 0.12 - 0.085 * step + jitter(rng, 0.018)
        slope = 0.12 + jitter(rng, 0.12)
        outward = chest.outward
        middle = height - slope * (outward - 0.4) + 0.15 * (outward - 0.42) ** 2
        band = np.exp(-(((Y - middle) * (1 / 0.017)) ** 2)) * chest.half(side)
        ends = ramp(outward - 0.22, 0.05) * ramp(0.62 - outward, 0.06)
        cover(opacity, _WHOLE, between(rng, 0.5, 0.68) * band * ends)


def free_air(chest: Chest, findings: Findings, rng: np.random.Generator) -> tuple[Plane, Plane]:
    """Return a pneumothorax: the fraction of free air in each pixel, and the visceral line."""
    air, line = np.zeros_like(chest.lung), np.zeros_like(chest.lung)
    for side in findings.pneumothorax.sides:
        gap = _COLLAPSE[findings.pneumothorax.on(side)] * (1 + jitter(rng, 0.08))
        profile = curve(Y, ((-0.75, 1.35), (-0.3, 1.0), (0.1, 0.7), (0.45, 0.45), (1, 0.4)))
        edge = chest.lateral - gap * profile + 0.012 * np.sin(Y * 8 + between(rng, 0, 6))
        top = -0.70 + 0.95 * gap + 0.4 * (chest.outward - 0.3) ** 2
        inside = np.minimum(edge - chest.outward, Y - top)
        half = chest.half(side)
        air += ramp(-inside, 0.014) * half
        line += np.exp(-((inside * (1 / 0.012)) ** 2)) * half * chest.lung
    return air, line


def add_hernia(film: Plane, chest: Chest, rng: np.random.Generator) -> None:
    """Add a hiatus hernia to a film, in place: a wall with air above and fluid below."""
    centre = (
        chest.shift + 0.06 + jitter(rng, 0.02),
        0.5 * sum(chest.floors) - 0.13 + jitter(rng, 0.015),
    )
    width, height = between(rng, 0.13, 0.17), between(rng, 0.11, 0.14)
    window, share = ellipse(centre, width, height, 0.16, slant=jitter(rng, 0.15))
    wall = 4 * share * (1 - share)
    air = share * ramp(centre[1] + 0.02 - window.y, 0.016)
    window.of(film)[:] += 0.07 * wall + 0.03 * share - 0.19 * air


def add_wall_air(film: Plane, chest: Chest, side: Side, rng: np.random.Generator) -> None:
    """Add subcutaneous emphysema on one side to a film, in place: streaks and bubbles."""
    reach = sign(side) * X
    region = ramp(reach - chest.lateral - 0.03, 0.03) * ramp(0.40 - Y, 0.12) * ramp(Y + 0.85, 0.08)
    neck = ramp(0.30 - np.abs(reach - 0.30), 0.1) * ramp(-0.72 - Y, 0.05)
    region = np.maximum(region, 0.8 * neck) * chest.body
    # Air spreads along muscle fibres as fine streaks: noise stretched along the fibres.
    grain = texture(rng, 0.7)
    slope = -1 if side == "right" else 1
    streaks = sum(np.roll(grain, (slope * step, 2 * step), (0, 1)) for step in range(-3, 4))
    feathers = ramp(np.asarray(streaks, dtype=np.float32) * 0.28 + 0.1, 1.1)
    bubbles = ramp(texture(rng, 2.2) - 1.0, 0.5)
    patches = ramp(texture(rng, 8.0) + 0.5, 0.9)
    film -= region * patches * (0.16 * feathers + 0.10 * bubbles + 0.02)
