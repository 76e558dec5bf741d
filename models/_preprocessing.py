"""Preprocessing of the published models, on the host and on a device.

On the host, Pillow resamples one image per thread. On a device, :mod:`robustness.models._resample`
resamples batches with exactly the same grey levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from PIL import Image
from torch import Tensor

from robustness._util.threads import each
from robustness.models import _pixels
from robustness.models._pixels import Channels, Grey
from robustness.models._resample import Axis, resample

Size = tuple[int, int]
"""Height and width."""

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class Geometry(Protocol):
    """Transformation of an image of any size to a square of grey levels.

    Attributes:
        side: Height and width of the square.
    """

    @property
    def side(self) -> int:
        """Height and width of the square."""
        ...

    def square(self, image: Grey) -> Grey:
        """Return the square, uint8 ``[side, side]``, computed by Pillow."""
        ...

    def axes(self, height: int, width: int) -> tuple[Axis, Axis]:
        """Return the same transformation, as one axis for the rows and one for the columns."""
        ...


@dataclass(frozen=True, slots=True)
class ShortSide:
    """Resample the short side to ``side``, then crop the central square."""

    side: int
    filter: str

    def square(self, image: Grey) -> Grey:
        """See :class:`Geometry`."""
        resized = _pixels.resize_short_side(image, self.side, FILTERS[self.filter])
        return _pixels.center_crop(resized, self.side)

    def axes(self, height: int, width: int) -> tuple[Axis, Axis]:
        """See :class:`Geometry`."""
        resized = _pixels.short_side_size(height, width, self.side)
        rows, columns = (
            Axis(n, 0, n, r, _pixels.crop_start(r, self.side), self.side, self.filter)
            for n, r in zip((height, width), resized, strict=True)
        )
        return rows, columns


@dataclass(frozen=True, slots=True)
class Squash:
    """Resample height and width to ``side``, whatever the aspect ratio."""

    side: int
    filter: str

    def square(self, image: Grey) -> Grey:
        """See :class:`Geometry`."""
        return _pixels.resize(image, self.side, self.side, FILTERS[self.filter])

    def axes(self, height: int, width: int) -> tuple[Axis, Axis]:
        """See :class:`Geometry`."""
        rows, columns = (Axis(n, 0, n, self.side, 0, self.side, self.filter)
                         for n in (height, width))  # fmt: skip
        return rows, columns


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Resample the long side to ``side``, then centre the image on a black square."""

    side: int
    filter: str

    def square(self, image: Grey) -> Grey:
        """See :class:`Geometry`."""
        shrunk = _pixels.resize(image, *self._resized(*image.shape), FILTERS[self.filter])
        return _pixels.pad_centred(shrunk, self.side)

    def axes(self, height: int, width: int) -> tuple[Axis, Axis]:
        """See :class:`Geometry`."""
        rows, columns = (
            Axis(n, 0, n, r, -_pixels.pad_start(r, self.side), self.side, self.filter)
            for n, r in zip((height, width), self._resized(height, width), strict=True)
        )
        return rows, columns

    def _resized(self, height: int, width: int) -> Size:
        ratio = self.side / max(height, width)
        # A very long image would otherwise get a width of 0.
        return max(1, int(height * ratio)), max(1, int(width * ratio))


@dataclass(frozen=True, slots=True)
class BlackSquare:
    """Centre the image on a black square of at least ``side``, then resample it to ``side``."""

    side: int
    filter: str

    def square(self, image: Grey) -> Grey:
        """See :class:`Geometry`."""
        square = _pixels.pad_centred(image, max(self.side, *image.shape))
        return _pixels.resize(square, self.side, self.side, FILTERS[self.filter])

    def axes(self, height: int, width: int) -> tuple[Axis, Axis]:
        """See :class:`Geometry`."""
        padded = max(self.side, height, width)
        rows, columns = (
            Axis(n, _pixels.pad_start(n, padded), padded, self.side, 0, self.side, self.filter)
            for n in (height, width)
        )
        return rows, columns


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Preprocessing: geometry, then normalisation.

    Attributes:
        geometry: The transformation to a square.
        mean: The mean of each channel, subtracted after the division by ``scale``.
        std: The standard deviation of each channel.
        scale: The divisor of the grey levels.
        finish: The last step, on float32 ``[B, 3, side, side]``; None for none.
        on_device: True, since :meth:`device` is supported.
    """

    on_device: ClassVar[bool] = True

    geometry: Geometry
    mean: Channels
    std: Channels
    scale: float = 255
    finish: Callable[[Tensor], Tensor] | None = None

    def host(self, images: Sequence[Grey]) -> Tensor:
        """Preprocess on the host.

        Args:
            images: uint8 ``[height, width]`` each, 0 black; sizes may differ.

        Returns:
            float32 ``[B, 3, side, side]``, on the host.

        Raises:
            ValueError: An image is not uint8, not two-dimensional, or empty.
        """
        _pixels.check(images)
        if not len(images):
            return self._finish(torch.empty(0, 3, self.geometry.side, self.geometry.side))
        squares = each(self.geometry.square, images)
        return self._finish(_pixels.normalise(squares, self.mean, self.std, self.scale))

    def device(self, images: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Preprocess on the device of the images; see ``DualEncoder.preprocess_on_device``."""
        squares = resample(images, [self.geometry.axes(*size) for size in sizes])
        return self._finish(_pixels.normalise_batch(squares, self.mean, self.std, self.scale))

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
