"""Pillow's resampling of 8-bit grey, as batched products on any device, equal to the bit.

Pillow resamples the columns, rounds to 8 bits, then resamples the rows, or the other way
round. A weight is a whole number of 2**-22; a pixel is the sum of weight times grey level, plus
a half, cut to 0 to 255. Each pass is one matrix an image. A weight is taken apart into three
pieces of 8 bits, so that every sum is a whole number below 2**24: float32 holds it exactly,
whatever the order of addition, and so does TF32. A crop is columns left out of a matrix,
padding is columns of zeros.

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
"""Of a weight's fraction; Pillow's PRECISION_BITS, 32 - 8 - 2."""

PIECE_BITS, PIECES = 8, 3

EXACT_TAPS = 2**24 // 255**2
"""Up to here the sum of this many pieces times grey levels is exact in float32."""

TOGETHER = 2**26
"""Pixels that are resampled at once, of which a copy in floating point is made."""

SUPPORT = {"bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0}
"""The filters' half widths in pixels of the smaller image."""

Whole = NDArray[np.int64]
Weights = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Axis:
    """What becomes of the rows, or of the columns, of one image.

    Attributes:
        length: Of the image.
        before: Black pixels put ahead of it.
        padded: The length with the black pixels on both sides.
        resized: What that is resampled to.
        shift: Where in it the result begins; below 0, that much black is put ahead.
        size: Of the result; black where it reaches beyond ``resized``.
        filter: A name of :data:`SUPPORT`.
    """

    length: int
    before: int
    padded: int
    resized: int
    shift: int
    size: int
    filter: str


@lru_cache(maxsize=4096)
def taps(axis: Axis) -> tuple[Whole, Whole]:
    """Which pixels a result's pixel is made of, and their weights.

    Args:
        axis: What becomes of the axis.

    Returns:
        Indexes into the image, int64 ``[T, size]``, and weights in units of 2**-22, int64
        ``[T, size]``, 0 where there is no pixel.
    """
    place = np.arange(axis.size) + axis.shift
    if axis.resized == axis.padded:
        # Pillow leaves such an axis alone.
        index, weights = place[None], np.full((1, axis.size), 1 << BITS)
    else:
        index, weights = _pillow_taps(axis, place)
    index = index - axis.before
    there = (index >= 0) & (index < axis.length) & (place >= 0) & (place < axis.resized)
    return np.where(there, index, 0), np.where(there, weights, 0)


def _pillow_taps(axis: Axis, place: Whole) -> tuple[Whole, Whole]:
    scale = axis.padded / axis.resized
    stretch = max(scale, 1.0)
    support = SUPPORT[axis.filter] * stretch
    centre = (place + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + support + 0.5).astype(np.int64), axis.padded)
    count = max(int((end - first).max()), 1)
    index = first + np.arange(count)[:, None]
    weights: Weights = FILTERS[axis.filter]((index - centre + 0.5) * (1.0 / stretch))
    weights[index >= end] = 0
    # Added up one by one, as Pillow does: a pairwise sum may differ in the last bit.
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
    turned = np.where(x == 0, 1, x * math.pi)
    # The C library's sine: NumPy's own differs from it in the last bit.
    sine = np.array([math.sin(x) for x in turned.flat]).reshape(turned.shape)
    return np.where(x == 0, 1, sine / turned)


FILTERS = {"bilinear": _bilinear, "bicubic": _bicubic, "lanczos": _lanczos}


def resample(images: Tensor, axes: Sequence[tuple[Axis, Axis]]) -> Tensor:
    """Resamples images that lie in one batch, each by axes of its own.

    Args:
        images: uint8 ``[B, H, W]``; an image lies at the top left, what is beyond it is of no
            account.
        axes: Of the rows and of the columns of each image; all to one size.

    Returns:
        uint8 ``[B, rows, columns]``, on the images' device.
    """
    height, width = images.shape[1:]
    step = max(1, TOGETHER // (height * width))
    result = images.new_empty(len(images), axes[0][0].size, axes[0][1].size)
    for rows_first in (False, True):
        alike = [i for i, pair in enumerate(axes) if _rows_first(*pair) == rows_first]
        for start in range(0, len(alike), step):
            chosen = alike[start : start + step]
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
    """Whether Pillow resamples an image's rows before its columns."""
    shrunk = rows.padded - rows.resized
    return shrunk > 0 and shrunk > 2 * (columns.padded - columns.resized) and _pillow_turns()


@lru_cache(maxsize=1)
def _pillow_turns() -> bool:
    """Whether this Pillow resamples the rows first where they shrink far more than the columns.

    Pillow does so from 13 on (pull request 9549), and each order rounds in its own way.
    """
    tall = Image.fromarray(np.arange(97 * 7, dtype=np.uint32).astype(np.uint8).reshape(97, 7) * 37)
    rows_first = tall.resize((7, 5), Image.Resampling.BICUBIC).resize(
        (6, 5), Image.Resampling.BICUBIC
    )
    return tall.resize((6, 5), Image.Resampling.BICUBIC).tobytes() == rows_first.tobytes()


def _pass(images: Tensor, axes: tuple[Axis, ...]) -> Tensor:
    """Resamples the last axis: uint8 ``[B, H, W]`` to ``[B, H, size]``."""
    index, weights = _tables(axes, images.device)
    size = index.shape[2]
    matrix = weights.new_zeros(len(images), images.shape[2], size).scatter_add_(1, index, weights)
    if len(index[0]) > EXACT_TAPS:
        total = (images.double() @ matrix.double()).to(torch.int32)
    else:
        pieces = [(matrix >> PIECE_BITS * piece) & 255 for piece in range(PIECES - 1)]
        pieces.append(matrix >> PIECE_BITS * (PIECES - 1))
        found = images.float() @ torch.cat(pieces, dim=2).float()
        total = torch.zeros((), dtype=torch.int32, device=images.device)
        for piece in range(PIECES):
            part = found[:, :, piece * size : (piece + 1) * size].to(torch.int32)
            total = total + (part << PIECE_BITS * piece)
    return ((total + (1 << BITS - 1)) >> BITS).clamp(0, 255).to(torch.uint8)


@lru_cache(maxsize=16)
def _tables(axes: tuple[Axis, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """The taps of a batch on a device, int64 and int32 ``[B, T, size]``.

    Kept, since one batch is resampled under several occlusions, one after another.
    """
    found = [taps(axis) for axis in axes]
    shape = (len(axes), max(len(index) for index, _ in found), axes[0].size)
    indexes, weights = np.zeros(shape, np.int64), np.zeros(shape, np.int32)
    for number, (index, weight) in enumerate(found):
        indexes[number, : len(index)] = index
        weights[number, : len(index)] = weight
    return torch.from_numpy(indexes).to(device), torch.from_numpy(weights).to(device)
