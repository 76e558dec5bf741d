"""Pillow's resampling of 8-bit grey images on any device, bit-exact, as batched products.

Pillow resamples the columns, rounds to 8 bits, then resamples the rows, or the reverse. A
weight is an integer multiple of 2**-22. A pixel is the sum of weight times grey level, plus a
half, clipped to 0 to 255. Each pass is one matrix per image. A weight is split into three
pieces of 8 bits, so that every sum is an integer below 2**24, which float32 and TF32 represent
exactly in any order of addition. A crop omits columns of a matrix, padding adds zero columns.

Source: ``src/libImaging/Resample.c`` of Pillow 13.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

BITS = 22
"""Fraction bits of a weight; Pillow's PRECISION_BITS, 32 - 8 - 2."""

PIECE_BITS, PIECES = 8, 3

EXACT_TAPS = 2**24 // 255**2
"""Maximum number of pieces times grey levels whose sum is exact in float32."""

MAX_PIXELS_AT_ONCE = 2**26
"""Maximum pixels resampled at once; limits the memory of their floating-point copy."""

SUPPORT = {"bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0}
"""Half widths of the filters, in pixels of the smaller image."""

Integers = NDArray[np.int64]
Weights = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Axis:
    """Pad, resample and crop along one axis of an image.

    Attributes:
        length: The length of the image.
        before: The number of black pixels before the image.
        padded: The length with the black pixels on both sides.
        resized: The length after resampling.
        shift: The start of the result in the resampled axis; if negative, that many black
            pixels come first.
        size: The length of the result; black after the end of the resampled axis.
        filter: A key of :data:`SUPPORT`.
    """

    length: int
    before: int
    padded: int
    resized: int
    shift: int
    size: int
    filter: str


@lru_cache(maxsize=4096)
def taps(axis: Axis) -> tuple[Integers, Integers]:
    """Return the source pixels of each result pixel, and their weights.

    Returns:
        Indexes into the image, int64 ``[T, size]``, and weights in units of 2**-22, int64
        ``[T, size]``, 0 outside the image.
    """
    position = np.arange(axis.size) + axis.shift
    if axis.resized == axis.padded:
        # Pillow does not resample such an axis.
        index, weights = position[None], np.full((1, axis.size), 1 << BITS)
    else:
        index, weights = _pillow_taps(axis, position)
    index = index - axis.before
    in_image = (index >= 0) & (index < axis.length)
    valid = in_image & (position >= 0) & (position < axis.resized)
    return np.where(valid, index, 0), np.where(valid, weights, 0)


def _pillow_taps(axis: Axis, position: Integers) -> tuple[Integers, Integers]:
    scale = axis.padded / axis.resized
    stretch = max(scale, 1.0)
    support = SUPPORT[axis.filter] * stretch
    centre = (position + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + support + 0.5).astype(np.int64), axis.padded)
    count = max(int((end - first).max()), 1)
    index = first + np.arange(count)[:, None]
    weights: Weights = FILTERS[axis.filter]((index - centre + 0.5) * (1.0 / stretch))
    weights[index >= end] = 0
    # A sequential sum, as in Pillow: a pairwise sum may differ in the last bit.
    total = np.cumsum(weights, axis=0)[-1]
    units = weights / np.where(total == 0, 1, total) * (1 << BITS)
    return index, np.trunc(units + np.copysign(0.5, units)).astype(np.int64)


def _bilinear(x: Weights) -> Weights:
    return np.asarray(np.maximum(1 - np.abs(x), 0))


def _bicubic(x: Weights) -> Weights:
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * -0.5
    return np.where(x < 1, near, np.where(x < 2, far, 0))  # noqa: PLR2004 - the filter's width


def _lanczos(x: Weights) -> Weights:
    return np.where((x >= -3) & (x < 3), _sinc(x) * _sinc(x / 3), 0)  # noqa: PLR2004


def _sinc(x: Weights) -> Weights:
    angle = np.where(x == 0, 1, x * math.pi)
    # The sine of the C library: NumPy's differs in the last bit.
    sine = np.array([math.sin(x) for x in angle.flat]).reshape(angle.shape)
    return np.where(x == 0, 1, sine / angle)


FILTERS = {"bilinear": _bilinear, "bicubic": _bicubic, "lanczos": _lanczos}


def resample(images: Tensor, axes: Sequence[tuple[Axis, Axis]]) -> Tensor:
    """Resample a padded batch of images, each with its own axes.

    Args:
        images: uint8 ``[B, H, W]``, each image at the top left; its padding is ignored.
        axes: The axes of the rows and columns of each image; all with the same ``size``.

    Returns:
        uint8 ``[B, rows, columns]``, on the images' device.
    """
    height, width = images.shape[1:]
    step = max(1, MAX_PIXELS_AT_ONCE // (height * width))
    result = images.new_empty(len(images), axes[0][0].size, axes[0][1].size)
    for rows_first in (False, True):
        same_order = [i for i, pair in enumerate(axes) if _rows_first(*pair) == rows_first]
        for start in range(0, len(same_order), step):
            chosen = same_order[start : start + step]
            rows, columns = zip(*(axes[i] for i in chosen), strict=True)
            part = images[chosen[0] : chosen[-1] + 1]
            if len(part) > len(chosen):
                part = images[chosen]
            if rows_first:
                part = _pass(part.transpose(1, 2), rows).transpose(1, 2)
                result[chosen] = _pass(part, columns)
            else:
                part = _pass(part, columns).transpose(1, 2)
                result[chosen] = _pass(part, rows).transpose(1, 2)
    return result


def _rows_first(rows: Axis, columns: Axis) -> bool:
    """Return True if Pillow resamples the rows of an image before its columns."""
    shrunk = rows.padded - rows.resized
    return shrunk > 0 and shrunk > 2 * (columns.padded - columns.resized) and _pillow_turns()


@lru_cache(maxsize=1)
def _pillow_turns() -> bool:
    """Return True if this Pillow resamples rows first if they shrink far more than columns.

    Pillow 13 and later do so (pull request 9549); the two orders round differently.
    """
    tall = Image.fromarray(np.arange(97 * 7, dtype=np.uint32).astype(np.uint8).reshape(97, 7) * 37)
    rows_first = tall.resize((7, 5), Image.Resampling.BICUBIC).resize(
        (6, 5), Image.Resampling.BICUBIC
    )
    return tall.resize((6, 5), Image.Resampling.BICUBIC).tobytes() == rows_first.tobytes()


def _pass(images: Tensor, axes: tuple[Axis, ...]) -> Tensor:
    """Resample the last axis: uint8 ``[B, H, W]`` to ``[B, H, size]``."""
    index, weights = _tables(axes, images.device)
    size = index.shape[2]
    matrix = weights.new_zeros(len(images), images.shape[2], size).scatter_add_(1, index, weights)
    if len(index[0]) > EXACT_TAPS:
        total = (images.double() @ matrix.double()).to(torch.int32)
    else:
        pieces = [(matrix >> PIECE_BITS * piece) & 255 for piece in range(PIECES - 1)]
        pieces.append(matrix >> PIECE_BITS * (PIECES - 1))
        products = images.float() @ torch.cat(pieces, dim=2).float()
        total = torch.zeros((), dtype=torch.int32, device=images.device)
        for piece in range(PIECES):
            part = products[:, :, piece * size : (piece + 1) * size].to(torch.int32)
            total = total + (part << PIECE_BITS * piece)
    return ((total + (1 << BITS - 1)) >> BITS).clamp(0, 255).to(torch.uint8)


@lru_cache(maxsize=16)
def _tables(axes: tuple[Axis, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the taps of a batch on a device, int64 and int32 ``[B, T, size]``.

    Cached, since one batch is resampled for several perturbations in a row.
    """
    all_taps = [taps(axis) for axis in axes]
    shape = (len(axes), max(len(index) for index, _ in all_taps), axes[0].size)
    indexes, weights = np.zeros(shape, np.int64), np.zeros(shape, np.int32)
    for number, (index, weight) in enumerate(all_taps):
        indexes[number, : len(index)] = index
        weights[number, : len(index)] = weight
    return torch.from_numpy(indexes).to(device), torch.from_numpy(weights).to(device)
