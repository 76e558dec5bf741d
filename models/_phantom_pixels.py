"""What the reference encoder sees of a radiograph: averages by area, exact to the bit."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

PIXELS = 112
"""Height and width of the encoder's input."""

MEAN, DEVIATION = 0.45, 0.25
"""Of brightness; what is taken off it, and what it is then divided by."""

BAND = 16
"""Cells that one product sums: with more, more of what is multiplied is 0."""


def shrink(images: Tensor) -> Tensor:
    """Letterboxes images on a black square, averages by area to 112 x 112, standardises.

    The sums are of whole numbers and exact, whatever the size and the order of addition,
    so an image's pixels cannot depend on the batch around it.

    Args:
        images: Grey levels ``[B, height, width]``, whole numbers from 0 to 255 of any dtype.

    Returns:
        float32 ``[B, 112, 112]``.
    """
    side = max(images.shape[1:])
    across = _sums(images.float(), side)
    down = _sums(across.double().transpose(1, 2), side).transpose(1, 2)
    return ((down / (255.0 * side * side) - MEAN) / DEVIATION).float()


def _sums(values: Tensor, side: int) -> Tensor:
    """Sums each row into the cells it lies under: ``[B, rows, length]`` to ``[B, rows, 112]``."""
    sums = values.new_zeros(*values.shape[:2], PIXELS)
    for cells, pixels, overlap in _bands(side, values.shape[2]):
        sums[..., cells] = values[..., pixels] @ overlap.to(values)
    return sums


@lru_cache(maxsize=64)
def _bands(side: int, length: int) -> list[tuple[slice, slice, Tensor]]:
    """Cells, the pixels they lie over, and how much of each they cover: ``[pixels, cells]``."""
    overlap = _overlap(side, length)
    bands = []
    for first in range(0, PIXELS, BAND):
        some = overlap[:, first : first + BAND]
        under = some.any(1).nonzero().ravel().tolist()
        if under:
            pixels = slice(under[0], under[-1] + 1)
            bands.append((slice(first, first + BAND), pixels, some[pixels].contiguous()))
    return bands


def _overlap(side: int, length: int) -> Tensor:
    """How much of each output cell each pixel fills, ``[length, 112]``, in whole units.

    The square's side is cut into ``112 * side`` units: a pixel is 112 of them long, a
    cell ``side`` of them.
    """
    start = (side - length) // 2
    pixel = ((torch.arange(length) + start) * PIXELS)[:, None]
    cell = torch.arange(PIXELS) * side
    ends = torch.minimum(pixel + PIXELS, cell + side)
    return (ends - torch.maximum(pixel, cell)).clamp(min=0).float()
