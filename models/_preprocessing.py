"""Preprocessing of the published models, on the host and on a device.

Published models were trained on pixels that Pillow resampled in 8 bits, so this module does
the same. Resampling a tensor instead changes an embedding more than an occlusion of a few
percent. A resampled grey image equals each channel of the same image resampled in RGB.

On the host, Pillow resamples one image per thread. On a device, :mod:`robustness.models._resample`
resamples batches with exactly the same grey levels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from robustness._util.threads import each
from robustness.models._resample import Axis, resample

Grey = NDArray[np.uint8]
"""Decoded radiograph, ``[height, width]``, 0 black."""

Channels = tuple[float, float, float]

Size = tuple[int, int]
"""Height and width."""

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


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


@dataclass(frozen=True, slots=True)
class Geometry(ABC):
    """Transformation of an image of any size to a square of grey levels.

    Attributes:
        side: Height and width of the square.
        filter: A key of :data:`FILTERS`.
    """

    side: int
    filter: str

    @abstractmethod
    def axis(self, length: int, other: int) -> Axis:
        """Return the transformation along one axis, given the image's length on both."""

    def axes(self, height: int, width: int) -> tuple[Axis, Axis]:
        """Return the transformations along the rows and along the columns."""
        return self.axis(height, width), self.axis(width, height)

    def square(self, image: Grey) -> Grey:
        """Transform an image with Pillow: uint8 ``[height, width]`` to ``[side, side]``."""
        height, width = image.shape
        rows, columns = axes = self.axes(height, width)
        image = _pad(image, [(a.before, a.padded - a.before - a.length) for a in axes])
        if image.shape != (rows.resized, columns.resized):
            size = (columns.resized, rows.resized)
            image = np.asarray(Image.fromarray(image).resize(size, FILTERS[self.filter]))
        top, left = (max(0, a.shift) for a in axes)
        image = image[top : top + self.side, left : left + self.side]
        before = [max(0, -a.shift) for a in axes]
        missing = [self.side - length for length in image.shape]
        return _pad(image, [(b, m - b) for b, m in zip(before, missing, strict=True)])


def _pad(image: Grey, widths: list[tuple[int, int]]) -> Grey:
    """Add black pixels before and after the rows and the columns."""
    return np.pad(image, widths) if any(map(any, widths)) else image


class ShortSide(Geometry):
    """Resample the short side to ``side``, then crop the central square, like torchvision."""

    def axis(self, length: int, other: int) -> Axis:
        """See :class:`Geometry`."""
        resized = int(self.side * length / min(length, other))
        # torchvision also rounds with Python's round(): a half goes to the even neighbour.
        shift = round((resized - self.side) / 2)
        return Axis(length, 0, length, resized, shift, self.side, self.filter)


class Squash(Geometry):
    """Resample height and width to ``side``, whatever the aspect ratio."""

    def axis(self, length: int, other: int) -> Axis:  # noqa: ARG002 - the interface
        """See :class:`Geometry`."""
        return Axis(length, 0, length, self.side, 0, self.side, self.filter)


class Letterbox(Geometry):
    """Resample the long side to ``side``, then centre the image on a black square."""

    def axis(self, length: int, other: int) -> Axis:
        """See :class:`Geometry`."""
        # A very long image would otherwise get a width of 0.
        resized = max(1, int(length * (self.side / max(length, other))))
        shift = -((self.side - resized) // 2)
        return Axis(length, 0, length, resized, shift, self.side, self.filter)


class BlackSquare(Geometry):
    """Centre the image on a black square of at least ``side``, then resample it to ``side``."""

    def axis(self, length: int, other: int) -> Axis:
        """See :class:`Geometry`."""
        padded = max(self.side, length, other)
        before = (padded - length) // 2
        return Axis(length, before, padded, self.side, 0, self.side, self.filter)


class Pixels(ABC):
    """Preprocessing of radiographs.

    Attributes:
        on_device: True if :meth:`device` is supported.
    """

    on_device: bool = False

    @abstractmethod
    def host(self, images: Sequence[Grey]) -> Tensor:
        """Preprocess on the host: uint8 ``[H, W]`` each to float32 ``[B, 3, side, side]``.

        Raises:
            ValueError: An image is not uint8, not two-dimensional, or empty.
        """

    def device(self, images: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Preprocess on the device of the images; see ``DualEncoder.preprocess_on_device``."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Preprocessing(Pixels):
    """Preprocessing: geometry, then normalisation.

    Attributes:
        geometry: The transformation to a square.
        mean: The mean of each channel, subtracted after the division by ``scale``.
        std: The standard deviation of each channel.
        scale: The divisor of the grey levels.
        finish: The last step, on float32 ``[B, 3, side, side]``; None for none.
    """

    on_device = True

    geometry: Geometry
    mean: Channels
    std: Channels
    scale: float = 255
    finish: Callable[[Tensor], Tensor] | None = None

    def host(self, images: Sequence[Grey]) -> Tensor:
        """See :class:`Pixels`."""
        check(images)
        if not len(images):
            return self._finish(torch.empty(0, 3, self.geometry.side, self.geometry.side))
        squares = each(self.geometry.square, images, threads=torch.get_num_threads())
        return self._finish(self._normalise(torch.from_numpy(np.stack(squares))))

    def device(self, images: Tensor, sizes: Sequence[Size]) -> Tensor:
        """See :class:`Pixels`."""
        squares = resample(images, [self.geometry.axes(*size) for size in sizes])
        return self._finish(self._normalise(squares))

    def _normalise(self, grey: Tensor) -> Tensor:
        # A tensor, since CUDA replaces the division by a plain number by a multiplication.
        scale = torch.tensor(float(self.scale), device=grey.device)
        mean, std = (
            torch.tensor(values, device=grey.device).view(3, 1, 1)
            for values in (self.mean, self.std)
        )
        return (grey.unsqueeze(1).float() / scale - mean) / std

    def _finish(self, pixels: Tensor) -> Tensor:
        return pixels if self.finish is None or not len(pixels) else self.finish(pixels)


def like_open_clip(settings: Mapping[str, Any]) -> Preprocessing | None:
    """Return open_clip's evaluation preprocessing, with exactly the same values.

    Args:
        settings: The fields of open_clip's ``PreprocessCfg``.

    Returns:
        None if only open_clip itself can do it: it pads, or the result is not square.
    """
    size, mode = settings["size"], settings["resize_mode"]
    height, width = (size, size) if isinstance(size, int) else size
    if height != width or mode not in {"shortest", "squash"}:
        return None
    filter_ = "bilinear" if settings["interpolation"] == "bilinear" else "bicubic"
    geometry = (ShortSide if mode == "shortest" else Squash)(height, filter_)
    mean, std = (
        tuple(value) if isinstance(value, Sequence) else (value,) * 3
        for value in (settings["mean"], settings["std"])
    )
    return Preprocessing(geometry, mean, std)
