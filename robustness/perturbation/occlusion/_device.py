"""Occlusion of a batch of images where they lie, equal to :meth:`Occlusion.apply` to the bit."""

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
    """Copies of images with their hidden pixels filled.

    Args:
        occlusion: What is hidden.
        images: uint8 ``[B, H, W]``, on any device; image ``i`` lies at the top left.
        image_ids: The images' ids, from which their masks are drawn.
        sizes: Height and width of each image; what is beyond is not occluded.

    Returns:
        uint8 ``[B, H, W]``, on the images' device; the images themselves at level 0.
    """
    if occlusion.level == 0:
        return images
    boxes = [
        occlusion.boxes(image_id, *size) for image_id, size in zip(image_ids, sizes, strict=True)
    ]
    return images.masked_fill(_mask(boxes, images), FILLS[occlusion.fill])


def _mask(boxes: Sequence[np.ndarray], images: Tensor) -> Tensor:
    """Where the boxes of each image lie, bool ``[B, H, W]``.

    The boxes' corners, summed down and then along, count the boxes over each pixel. Boxes of
    one image do not overlap, so that is 0 or 1 and no partial sum is beyond 8 bits.
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
