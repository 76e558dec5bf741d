"""Rendering of findings to pixels: attenuation in the body, then exposure of the film."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from robustness.evalset.phantom import _bones, _devices, _lungs, _pathology
from robustness.evalset.phantom._anatomy import Chest, draw_chest, soft_tissue
from robustness.evalset.phantom._canvas import SIZE, Plane, Y, between, jitter, ramp, texture
from robustness.evalset.phantom._findings import Findings

_MARKINGS = 0.17


def render(findings: Findings, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Render the radiograph of a patient with these findings.

    Everything else is random: the patient's shape and position, the noise.

    Returns:
        uint8 ``[224, 224]``, 0 is black; the patient's right is the image's left.
    """
    # One stream per stage: a change of one finding leaves the rest of the image unchanged.
    shapes, tissue, lungs, bones, airway, disease, devices, place, exposure = rng.spawn(9)
    chest = draw_chest(findings, shapes)
    film = soft_tissue(chest, tissue)
    aerated = _fill_lungs(film, chest, findings, lungs)
    _bones.add_bones(film, chest, aerated, findings, bones)
    _lungs.add_airway(film, chest, airway)
    if findings.hernia:
        _pathology.add_hernia(film, chest, disease)
    if findings.emphysema:
        _pathology.add_wall_air(film, chest, findings.emphysema, disease)
    _devices.add_devices(film, chest, findings, devices)
    return _develop(_position(film, place), findings, exposure)


def _fill_lungs(film: Plane, chest: Chest, findings: Findings, rng: np.random.Generator) -> Plane:
    """Darken the aerated lungs in place; return the fraction of air in each pixel."""
    disease, roots, gaps, branches = rng.spawn(4)
    replaced = _pathology.opacities(chest, findings, disease)
    hila = _lungs.hila(chest, findings, roots)
    free, edge = _pathology.free_air(chest, findings, gaps)
    # There is lung in front of and behind the heart, so it is not fully opaque.
    aerated = chest.lung * (1 - 0.97 * chest.heart) * (1 - replaced)
    vessels = _MARKINGS * _lungs.markings(chest, branches)
    inside = np.clip(1 - free, 0, 1)
    dark = _lungs.darkness(chest, findings)
    film -= aerated * (1 - 0.85 * hila * inside) * (dark + 0.07 * free - vessels * inside)
    film += 0.13 * edge
    # The posterior sulcus contains lung too: the top of the liver is slightly darker.
    behind = chest.abdomen * ramp(chest.dome + 0.16 - Y, 0.16) * (1 - chest.heart)
    film -= 0.05 * behind * (1 - replaced)
    return aerated


def _position(film: Plane, rng: np.random.Generator) -> Plane:
    """Shift, rotate and scale the film slightly, as patients are positioned differently."""
    angle = math.radians(jitter(rng, 1.4))
    scale = 1 / (1.035 + jitter(rng, 0.03))
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    middle = SIZE / 2
    right = middle - middle * (cosine + sine) + jitter(rng, 2.5)
    down = middle - middle * (cosine - sine) + jitter(rng, 2.5)
    moved = Image.fromarray(film).transform(
        (SIZE, SIZE),
        Image.Transform.AFFINE,
        (cosine, sine, right, -sine, cosine, down),
        resample=Image.Resampling.BILINEAR,
    )
    return np.asarray(moved, dtype=np.float32)


def _develop(film: Plane, findings: Findings, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Apply exposure, contrast, noise and lead markers; return uint8."""
    gamma = 1.12 + jitter(rng, 0.14)
    contrast = 1.12 + jitter(rng, 0.08)
    offset = jitter(rng, 0.03)
    tone = np.clip(film * contrast + (offset - 0.04), 0.004, 1.15) ** gamma
    # The characteristic curve of film: the brightest parts are compressed.
    tone = tone * (1.16 - 0.24 * tone)
    noise = 0.55 * texture(rng, 0.7) + 0.7 * rng.standard_normal(film.shape, dtype=np.float32)
    portable = 1.3 if findings.view == "AP" else 1.0
    tone += between(rng, 0.010, 0.034) * portable * (0.35 + tone) * noise
    image = Image.fromarray((np.clip(tone, 0, 1) * 255 + 0.5).astype(np.uint8))
    _mark(image, findings, rng)
    return np.array(image, dtype=np.uint8)


def _mark(image: Image.Image, findings: Findings, rng: np.random.Generator) -> None:
    draw = ImageDraw.Draw(image)
    # The built-in bitmap font: Pillow may be built without scalable fonts.
    font = ImageFont.load_default_imagefont()
    height = between(rng, 8, 30)
    if rng.random() < 0.85:  # noqa: PLR2004 - the others have an L marker
        draw.text((between(rng, 6, 18), height), "R", fill=235, font=font)
    else:
        draw.text((SIZE - between(rng, 14, 24), height), "L", fill=235, font=font)
    if findings.view == "AP" and rng.random() < 0.5:  # noqa: PLR2004 - a fair coin
        label = "AP" if rng.random() < 0.5 else "PORT"  # noqa: PLR2004
        draw.text((SIZE - 40, 6), label, fill=225, font=font)
