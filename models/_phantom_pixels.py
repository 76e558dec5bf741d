"""What the reference encoder sees of a radiograph: averages by area, exact to the bit."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from torch import Tensor

PIXELS = 112
"""Height and width of the encoder's input."""

MEAN, DEVIATION = 0.45, 0.25
"""Of brightness; what is taken off it, and what it is then divided by."""


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
    down = _sums(images.float(), side)
    turned = down.transpose(1, 2).to(torch.float64, memory_format=torch.contiguous_format)
    across = _sums(turned, side).transpose(1, 2)
    return ((across / (255.0 * side * side) - MEAN) / DEVIATION).float()


def _sums(lines: Tensor, side: int) -> Tensor:
    """Sums lines into the cells they lie under: ``[B, lines, width]`` to ``[B, 112, width]``."""
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
    """The pixels under each cell, one cell after another.

    The square's side is cut into ``112 * side`` units: a pixel is 112 of them long, a
    cell ``side`` of them.

    Returns:
        Pixels, int64 ``[P]``; how many units of each lie in the cell, float32 ``[P]``; and the
        place among them where each cell's begin, int64 ``[112]``.
    """
    start = (side - length) // 2
    pixel = (torch.arange(length) + start) * PIXELS
    cell = torch.arange(PIXELS)[:, None] * side
    ends = torch.minimum(pixel + PIXELS, cell + side)
    overlap = (ends - torch.maximum(pixel, cell)).clamp(min=0)
    under, which = overlap.nonzero(as_tuple=True)
    counts = torch.bincount(under, minlength=PIXELS)
    return which, overlap[under, which].float(), counts.cumsum(0) - counts
