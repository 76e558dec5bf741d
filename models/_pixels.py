"""From decoded radiographs to a model's input, as Pillow and torchvision compute it.

Published models were trained on pixels that Pillow resampled in 8 bits, so that is done
here too: resampling a tensor instead moves an embedding further than an occlusion of a few
percent. A grey image resampled alone equals each channel of the same image in RGB.
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
    """Refuses what is no decoded radiograph.

    Raises:
        ValueError: An image is not uint8, not two-dimensional, or empty.
    """
    for index, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 2 or not image.size:  # noqa: PLR2004
            raise ValueError(
                f"image {index} is {image.dtype} {list(image.shape)};"
                " an image is uint8 [height, width], neither of them 0"
            )


def resize(image: Grey, height: int, width: int, resample: Image.Resampling) -> Grey:
    """Resamples an image with Pillow.

    Args:
        image: uint8 ``[H, W]``.
        height: Rows of the result.
        width: Columns of the result.
        resample: Pillow's filter.

    Returns:
        uint8 ``[height, width]``.
    """
    if image.shape == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), resample))


def resize_short_side(image: Grey, side: int, resample: Image.Resampling) -> Grey:
    """Resamples an image so that its shorter side is ``side``, as torchvision's ``Resize``.

    Args:
        image: uint8 ``[H, W]``.
        side: The shorter side of the result; the longer one is rounded down.
        resample: Pillow's filter.

    Returns:
        uint8 ``[H', W']``.
    """
    height, width = image.shape
    return resize(image, *short_side_size(height, width, side), resample)


def short_side_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width once the shorter of them is ``side``; the longer is rounded down."""
    long = int(side * max(height, width) / min(height, width))
    return (long, side) if height > width else (side, long)


def center_crop(image: Grey, side: int) -> Grey:
    """Cuts the central square out of an image, as torchvision's ``CenterCrop``.

    Args:
        image: uint8 ``[H, W]``; black is added around it where it is smaller.
        side: Height and width of the result.

    Returns:
        uint8 ``[side, side]``.
    """
    short = [max(0, side - length) for length in image.shape]
    image = np.pad(image, [(missing // 2, (missing + 1) // 2) for missing in short])
    top, left = (crop_start(length, side) for length in image.shape)
    return image[top : top + side, left : left + side]


def crop_start(length: int, side: int) -> int:
    """Where a central cut begins in a length that is not below it, as in torchvision."""
    # Python rounds a half to the even neighbour, and so does torchvision.
    return round((length - side) / 2)


def pad_centred(image: Grey, side: int) -> Grey:
    """Lays an image on the middle of a black square, its offset rounded down.

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
    """Where a length that is not above a side begins on it."""
    return (side - length) // 2


def normalise(images: Sequence[Grey], mean: Channels, std: Channels, scale: float = 255) -> Tensor:
    """Standardises grey images into three channels.

    Args:
        images: uint8 ``[H, W]`` each, all of one size, at least one.
        mean: Taken off each channel, after the division by ``scale``.
        std: What each channel is then divided by.
        scale: What grey levels are divided by; 1 keeps them at 0 to 255.

    Returns:
        float32 ``[B, 3, H, W]``, on the host.
    """
    return standardise(torch.from_numpy(np.stack(images)), mean, std, scale)


def standardise(grey: Tensor, mean: Channels, std: Channels, scale: float = 255) -> Tensor:
    """The same for uint8 ``[B, H, W]`` on any device, where the result lies too."""
    # A divisor on the device is divided by; for a plain number CUDA multiplies by its inverse.
    divisor = torch.tensor(float(scale), device=grey.device)
    middle, spread = (torch.tensor(each, device=grey.device).view(3, 1, 1) for each in (mean, std))
    return (grey.unsqueeze(1).float() / divisor - middle) / spread
