"""How the published models turn radiographs into pixels, on the host and on a device.

On the host Pillow resamples, one image a thread; on a device the same is done in batches
(:mod:`models._resample`), with the same grey levels to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from PIL import Image
from torch import Tensor

from models import _pixels
from models._pixels import Channels, Grey
from models._resample import Axis, resample
from robustness.parallel import each

Size = tuple[int, int]
"""Height and width."""

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class Geometry(Protocol):
    """How an image of any size becomes a square of grey levels.

    Attributes:
        side: Of the square.
    """

    @property
    def side(self) -> int:
        """Height and width of the square."""
        ...

    def square(self, image: Grey) -> Grey:
        """The square, uint8 ``[side, side]``, by Pillow."""
        ...

    def axes(self, height: int, width: int) -> tuple[Axis, Axis]:
        """The same, as what becomes of an image's rows and columns."""
        ...


@dataclass(frozen=True, slots=True)
class ShortSide:
    """The short side is resampled to ``side``, then the central square cut out."""

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
    """Height and width are each resampled to ``side``."""

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
    """The long side is resampled to ``side``, then the image laid on a black square."""

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
        # An image so long that it would be left with no width keeps one pixel of it.
        return max(1, int(height * ratio)), max(1, int(width * ratio))


@dataclass(frozen=True, slots=True)
class BlackSquare:
    """The image is laid on a black square of at least ``side``, which is resampled to it."""

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
    """From radiographs to a model's input.

    Attributes:
        geometry: How an image becomes a square.
        mean: Taken off each channel, after the division by ``scale``.
        std: What each channel is then divided by.
        scale: What grey levels are divided by.
        finish: What is done last, to float32 ``[B, 3, side, side]``; None for nothing.
        on_device: That :meth:`device` is offered.
    """

    on_device: ClassVar[bool] = True

    geometry: Geometry
    mean: Channels
    std: Channels
    scale: float = 255
    finish: Callable[[Tensor], Tensor] | None = None

    def host(self, images: Sequence[Grey]) -> Tensor:
        """Preprocesses on the host.

        Args:
            images: uint8 ``[height, width]`` each, 0 black; sizes may differ.

        Returns:
            float32 ``[B, 3, side, side]``, on the host.

        Raises:
            ValueError: An image is not uint8, not two-dimensional, or empty.
        """
        _pixels.check(images)
        if not len(images):
            return self._finished(torch.empty(0, 3, self.geometry.side, self.geometry.side))
        squares = each(self.geometry.square, images)
        return self._finished(_pixels.normalise(squares, self.mean, self.std, self.scale))

    def device(self, images: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Preprocesses where the images lie; see ``DualEncoder.preprocess_on_device``."""
        squares = resample(images, [self.geometry.axes(*size) for size in sizes])
        return self._finished(_pixels.standardise(squares, self.mean, self.std, self.scale))

    def _finished(self, pixels: Tensor) -> Tensor:
        return pixels if self.finish is None or not len(pixels) else self.finish(pixels)


def like_open_clip(settings: Mapping[str, Any]) -> Preprocessing | None:
    """open_clip's preprocessing for evaluation, with the same numbers to the bit.

    Args:
        settings: The fields of its ``PreprocessCfg``.

    Returns:
        None where open_clip must be asked itself: it pads, or the result is no square.
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
