"""Occlusion of a batch on its device, bitwise equal to :meth:`Occlusion.apply`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from robustness.perturbation.occlusion import FILLS, Occlusion


def apply_on_device(
    occlusion: Occlusion,
    images: Tensor,
    image_ids: Sequence[str],
    sizes: Sequence[tuple[int, int]],
) -> Tensor:
    """Return a copy of a batch of images with the hidden pixels filled.

    Args:
        occlusion: The occlusion.
        images: uint8 ``[B, H, W]`` on any device; each image is padded at the bottom and right.
        image_ids: The ids of the images, which determine their masks together with the seed.
        sizes: Height and width of each image; the padding is not occluded.

    Returns:
        uint8 ``[B, H, W]`` on the same device; ``images`` itself, not a copy, at level 0.
    """
    if occlusion.level == 0:
        return images
    boxes = [
        occlusion.boxes(image_id, *size) for image_id, size in zip(image_ids, sizes, strict=True)
    ]
    return images.masked_fill(_mask(boxes, images), FILLS[occlusion.fill])


def _mask(boxes: Sequence[np.ndarray], images: Tensor) -> Tensor:
    """Return the mask of the boxes, bool ``[B, H, W]``.

    It is the cumulative sum of signed box corners along both axes, which counts the boxes over
    each pixel. Boxes of an image do not overlap, so that the count is 0 or 1, and partial sums
    fit into 8 bits.
    """
    n, height, width = images.shape
    image = np.repeat(np.arange(n), [len(each) for each in boxes])
    top, bottom, left, right = np.concatenate(boxes).T
    stride = width + 1
    start = image * (height + 1) * stride
    corners = np.concatenate(
        [start + row * stride + column for row in (top, bottom) for column in (left, right)]
    )
    signs = np.repeat(np.array([1, -1, -1, 1], dtype=np.int8), len(image))
    counts = torch.zeros(n * (height + 1) * stride, dtype=torch.int8, device=images.device)
    counts.index_add_(0, *(torch.from_numpy(part).to(images.device) for part in (corners, signs)))
    counts = counts.view(n, height + 1, stride).cumsum(1, dtype=torch.int8)
    return counts.cumsum(2, dtype=torch.int8)[:, :height, :width].bool()
