"""Resize, crop, pad and normalise decoded radiographs like Pillow and torchvision.

Published models were trained on pixels that Pillow resampled in 8 bits, so this module does
the same. Resampling a tensor instead changes an embedding more than an occlusion of a few
percent. A resampled grey image equals each channel of the same image resampled in RGB.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Grey = NDArray[np.uint8]
Channels = tuple[float, float, float]


def check(images: Sequence[Grey]) -> None:
    """Raise if an array is not a decoded radiograph.

    Raises:
        ValueError: An image is not uint8, not two-dimensional, or empty.
    """
    for index, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 2 or not image.size:  # noqa: PLR2004
            raise ValueError(
                f"image {index} is {image.dtype} {list(image.shape)};"
                " an image must be uint8 [height, width], both above 0"
            )


def resize(image: Grey, height: int, width: int, resample: Image.Resampling) -> Grey:
    """Resample an image with Pillow.

    Args:
        image: uint8 ``[H, W]``.
        height: Rows of the result.
        width: Columns of the result.
        resample: The filter.

    Returns:
        uint8 ``[height, width]``.
    """
    if image.shape == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), resample))


def resize_short_side(image: Grey, side: int, resample: Image.Resampling) -> Grey:
    """Resample an image so that its shorter side is ``side``, like torchvision's ``Resize``.

    Args:
        image: uint8 ``[H, W]``.
        side: The shorter side of the result; the longer one is rounded down.
        resample: The filter.

    Returns:
        uint8 ``[H', W']``.
    """
    height, width = image.shape
    return resize(image, *short_side_size(height, width, side), resample)


def short_side_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Return the size with the shorter side at ``side``; the longer one is rounded down.

    Example:
        >>> short_side_size(300, 200, 100)
        (150, 100)
    """
    long = int(side * max(height, width) / min(height, width))
    return (long, side) if height > width else (side, long)


def center_crop(image: Grey, side: int) -> Grey:
    """Crop the central square of an image, like torchvision's ``CenterCrop``.

    Args:
        image: uint8 ``[H, W]``; a smaller one is padded with black.
        side: Height and width of the result.

    Returns:
        uint8 ``[side, side]``.
    """
    short = [max(0, side - length) for length in image.shape]
    image = np.pad(image, [(missing // 2, (missing + 1) // 2) for missing in short])
    top, left = (crop_start(length, side) for length in image.shape)
    return image[top : top + side, left : left + side]


def crop_start(length: int, side: int) -> int:
    """Return the start of a central crop of ``side`` in a ``length`` of at least that."""
    # torchvision also rounds with Python's round(): a half goes to the even neighbour.
    return round((length - side) / 2)


def pad_centred(image: Grey, side: int) -> Grey:
    """Centre an image on a black square, with the offset rounded down.

    Args:
        image: uint8 ``[H, W]``, neither side longer than ``side``.
        side: Height and width of the square.

    Returns:
        uint8 ``[side, side]``.
    """
    height, width = image.shape
    top, left = pad_start(height, side), pad_start(width, side)
    canvas = np.zeros((side, side), dtype=np.uint8)
    canvas[top : top + height, left : left + width] = image
    return canvas


def pad_start(length: int, side: int) -> int:
    """Return the offset that centres a ``length`` on a ``side`` of at least that."""
    return (side - length) // 2


def normalise(images: Sequence[Grey], mean: Channels, std: Channels, scale: float = 255) -> Tensor:
    """Normalise grey images and repeat them to three channels.

    Args:
        images: uint8 ``[H, W]`` each, all of one size, at least one.
        mean: The mean of each channel, subtracted after the division by ``scale``.
        std: The standard deviation of each channel.
        scale: The divisor of the grey levels; 1 leaves them at 0 to 255.

    Returns:
        float32 ``[B, 3, H, W]``, on the host.
    """
    return normalise_batch(torch.from_numpy(np.stack(images)), mean, std, scale)


def normalise_batch(grey: Tensor, mean: Channels, std: Channels, scale: float = 255) -> Tensor:
    """Normalise a batch, uint8 ``[B, H, W]``, on its device; see :func:`normalise`."""
    # A tensor, since CUDA replaces the division by a plain number by a multiplication.
    divisor = torch.tensor(float(scale), device=grey.device)
    middle, spread = (torch.tensor(each, device=grey.device).view(3, 1, 1) for each in (mean, std))
    return (grey.unsqueeze(1).float() / divisor - middle) / spread
