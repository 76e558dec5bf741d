"""Preprocessing of the reference encoder: exact averages by area."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from torch import Tensor

PIXELS = 112
"""Height and width of the encoder's input."""

MEAN, DEVIATION = 0.45, 0.25
"""Mean and standard deviation of brightness, for the normalisation."""


def shrink(images: Tensor) -> Tensor:
    """Pad images to a black square, average by area to 112 x 112, and normalise.

    The sums are exact sums of integers, whatever the size and the order of addition. So the
    pixels of an image do not depend on its batch.

    Args:
        images: Grey levels ``[B, height, width]``, integers from 0 to 255 in any dtype.

    Returns:
        float32 ``[B, 112, 112]``.
    """
    side = max(images.shape[1:])
    down = _sums(images.float(), side)
    transposed = down.transpose(1, 2).to(torch.float64, memory_format=torch.contiguous_format)
    across = _sums(transposed, side).transpose(1, 2)
    return ((across / (255.0 * side * side) - MEAN) / DEVIATION).float()


def _sums(lines: Tensor, side: int) -> Tensor:
    """Sum lines per output cell: ``[B, lines, width]`` to ``[B, 112, width]``."""
    images, length, width = lines.shape
    which, overlap, starts = (part.to(lines.device) for part in _cells(side, length))
    image = torch.arange(images, device=lines.device)[:, None]
    sums = F.embedding_bag(
        (which + image * length).flatten(),
        lines.reshape(-1, width),
        (starts + image * len(which)).flatten(),
        mode="sum",
        per_sample_weights=overlap.to(lines.dtype).repeat(images),
    )
    return sums.view(images, PIXELS, width)


@lru_cache(maxsize=64)
def _cells(side: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pixels that overlap each output cell, cell by cell.

    The side of the square has ``112 * side`` units. A pixel is 112 units long, a cell ``side``
    units.

    Returns:
        The pixels, int64 ``[P]``; their overlap with the cell in units, float32 ``[P]``; and
        the index of the first pixel of each cell, int64 ``[112]``.
    """
    start = (side - length) // 2
    pixel = (torch.arange(length) + start) * PIXELS
    cell = torch.arange(PIXELS)[:, None] * side
    ends = torch.minimum(pixel + PIXELS, cell + side)
    overlap = (ends - torch.maximum(pixel, cell)).clamp(min=0)
    under, which = overlap.nonzero(as_tuple=True)
    counts = torch.bincount(under, minlength=PIXELS)
    return which, overlap[under, which].float(), counts.cumsum(0) - counts
