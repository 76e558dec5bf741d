"""Bones: ribs, spine, clavicles, shoulder blades and arms."""

from __future__ import annotations

import numpy as np

from robustness.evalset.phantom._anatomy import APEX, Chest, sign
from robustness.evalset.phantom._canvas import (
    Plane,
    Window,
    Y,
    between,
    ellipse,
    jitter,
    ramp,
)
from robustness.evalset.phantom._findings import Findings

_RIBS = Window(slice(28, 196), slice(None))
_SPINE = Window(slice(None), slice(70, 154))
_SHOULDERS = Window(slice(0, 120), slice(None))


def add_bones(
    film: Plane, chest: Chest, aerated: Plane, findings: Findings, rng: np.random.Generator
) -> None:
    """Add the bones to a film in place; ``aerated`` is the fraction of air in each pixel."""
    _add_ribs(film, chest, aerated, findings, rng)
    _add_spine(film, chest, rng)
    _add_clavicles(film, chest, findings, rng)
    _add_shoulder_blades(film, chest, findings, rng)
    for direction in (-1, 1):
        head = (direction * (0.95 + jitter(rng, 0.02)), -0.60 + jitter(rng, 0.02))
        window, share = ellipse(head, 0.13, 0.14, 0.25)
        window.of(film)[:] += 0.13 * share * window.of(chest.body)


def _add_ribs(
    film: Plane, chest: Chest, aerated: Plane, findings: Findings, rng: np.random.Generator
) -> None:
    outward, y = _RIBS.of(chest.outward), _RIBS.y
    lateral = chest.lateral[_RIBS.rows]
    spacing = 0.132 * (1 + jitter(rng, 0.03))
    start = APEX + 0.02 + jitter(rng, 0.03)
    # The upper ribs curve around the apex; the lower ones are flatter.
    bend = 0.62 - 0.22 * (y - APEX)
    order: Plane = (y - bend * (outward - 0.20) ** 2 * 1.25 - start) * (1 / spacing)
    if findings.fracture is not None:
        order = _break(film, chest, findings, order, rng)
    across = np.abs(order - np.round(order))
    profile = ramp(0.2 - across, 0.055) * (0.55 + 9.0 * np.minimum(across, 0.2) ** 2)
    cage = ramp(lateral + 0.05 - outward, 0.03) * ramp(outward - 0.05, 0.03)
    cage = cage * ramp(order - 0.3, 0.1) * ramp(9.4 - order, 0.3)
    # Bone is distinct over air, and hardly visible over the heart, the liver or fluid.
    clear = _RIBS.of(aerated)
    strength = between(rng, 0.095, 0.125)
    front_order = (y + 0.55 * outward - 0.35 * outward**2 - start - 0.26) * (1 / spacing)
    front_across = np.abs(front_order - np.round(front_order))
    front = ramp(0.21 - front_across, 0.09) * ramp(outward - 0.30, 0.08) * ramp(0.42 - y, 0.1)
    rim = np.exp(-(((outward - lateral - 0.015) * (1 / 0.022)) ** 2)) * ramp(0.75 - y, 0.1)
    bone = strength * profile * cage * (0.2 + 0.8 * clear)
    bone += 0.045 * front * cage * (0.1 + 0.9 * clear) + 0.05 * rim
    _RIBS.of(film)[:] += bone * _RIBS.of(chest.body)


def _break(
    film: Plane, chest: Chest, findings: Findings, order: Plane, rng: np.random.Generator
) -> Plane:
    """Break two or three adjacent ribs laterally, with a gap and a step."""
    assert findings.fracture is not None  # noqa: S101 - checked by the caller
    half = _RIBS.of(chest.half(findings.fracture))
    outward = _RIBS.of(chest.outward)
    first = int(rng.integers(3, 5))
    place = 0.53 + jitter(rng, 0.02)
    beyond = ramp(outward - place, 0.012)
    gap = np.exp(-(((outward - place) * (1 / 0.018)) ** 2))
    for rib in range(first, first + int(rng.integers(2, 4))):
        on_rib = half * (np.abs(order - rib) < 0.5)  # noqa: PLR2004 - halfway to the next rib
        _RIBS.of(film)[:] -= 0.16 * on_rib * gap * ramp(0.16 - np.abs(order - rib), 0.08)
        order = order + 0.42 * on_rib * beyond * np.exp(-5 * np.maximum(outward - place, 0))
    return order


def _add_spine(film: Plane, chest: Chest, rng: np.random.Generator) -> None:
    offset = np.abs(_SPINE.x - chest.midline)
    spacing = 0.105 * (1 + jitter(rng, 0.04))
    phase = (Y * (1 / spacing) + float(rng.random())) % 1
    body = ramp(0.075 - offset, 0.02)
    # Discs transmit more than the vertebral bodies; pedicles are denser.
    vertebra = ramp(0.38 - np.abs(phase - 0.5), 0.1)
    pedicle = np.exp(-(((offset - 0.045) * (1 / 0.014)) ** 2)) * np.exp(
        -(((phase - 0.4) * (1 / 0.15)) ** 2)
    )
    shown = 0.7 + 0.5 * ramp(Y - 0.3, 0.5)
    bone = body * (0.035 + 0.04 * vertebra) + 0.03 * pedicle
    _SPINE.of(film)[:] += bone * shown * _SPINE.of(chest.body)


def _add_clavicles(film: Plane, chest: Chest, findings: Findings, rng: np.random.Generator) -> None:
    height = -0.545 - (0.06 if findings.view == "AP" else 0) + jitter(rng, 0.018)
    turn = 0.5 * chest.shift
    x, y = _SHOULDERS.x - turn, _SHOULDERS.y
    along = np.abs(x)
    # Rotation moves the medial ends away from the midline on one side, towards it on the other.
    inner = 0.075 + chest.shift * 0.5 * np.sign(x)
    middle = height - 0.10 * along + 0.035 * np.sin(along * 7) - 0.06 * along**2
    thickness = 0.030 + 0.012 * np.exp(-(((along - 0.1) * (1 / 0.06)) ** 2))
    shape = ramp(thickness - np.abs(y - middle), 0.014)
    edge = 0.6 + 0.4 * np.minimum(np.abs(y - middle) * (1 / 0.03), 1)
    ends = ramp(along - inner, 0.02) * ramp(0.84 - along, 0.03)
    _SHOULDERS.of(film)[:] += 0.105 * shape * edge * ends


def _add_shoulder_blades(
    film: Plane, chest: Chest, findings: Findings, rng: np.random.Generator
) -> None:
    inward = (0.15 if findings.view == "AP" else 0.0) + jitter(rng, 0.02)
    y = _SHOULDERS.y
    for side in ("right", "left"):
        x = sign(side) * _SHOULDERS.x
        border = 0.72 - inward + 0.16 * (y + 0.3) + jitter(rng, 0.012)
        blade = ramp(x - border, 0.016) * ramp(border + 0.30 + 0.25 * (y + 0.3) - x, 0.05)
        rim = np.exp(-(((x - border - 0.012) * (1 / 0.016)) ** 2))
        rows = ramp(y + 0.60, 0.06) * ramp(0.03 - y, 0.06)
        part = (0.045 * blade + 0.035 * rim * (x > 0)) * rows
        _SHOULDERS.of(film)[:] += part * _SHOULDERS.of(chest.body)
