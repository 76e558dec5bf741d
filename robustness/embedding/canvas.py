"""Decoded images as padded batches on a device, kept there while they fit."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robustness._util.threads import each
from robustness.embedding._ahead import ahead
from robustness.encoder import DualEncoder
from robustness.evalset import Image, Pair

SHARE = 0.25
"""Of a GPU's free memory, which images may keep; other processes may have come for theirs."""

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Canvas:
    """A batch of images of different sizes, each at the top left of its part.

    Attributes:
        images: uint8 ``[B, H, W]``; what is beyond an image may be anything.
        sizes: Height and width of each image.
    """

    images: Tensor
    sizes: tuple[Size, ...]


def lay(images: Sequence[Image], *, pinned: bool = False) -> Canvas:
    """Lays images on one canvas on the host.

    Args:
        images: uint8 ``[height, width]`` each, at least one.
        pinned: Whether to lay them into memory that a GPU can read by itself.

    Raises:
        ValueError: An image is not uint8, not two-dimensional, or empty.
    """
    for number, image in enumerate(images):
        # What is put into a canvas takes its type without a word.
        if image.dtype != np.uint8 or image.ndim != 2 or not image.size:  # noqa: PLR2004
            raise ValueError(
                f"image {number} is {image.dtype} {list(image.shape)};"
                " an image is uint8 [height, width], neither of them 0"
            )
    sizes = tuple((image.shape[0], image.shape[1]) for image in images)
    height, width = np.max(sizes, axis=0).tolist()
    canvas = torch.empty(len(images), height, width, dtype=torch.uint8, pin_memory=pinned)
    rows = canvas.numpy()

    def place(number: int) -> None:
        rows[number][tuple(map(slice, sizes[number]))] = images[number]

    each(place, range(len(images)))
    return Canvas(canvas, sizes)


def on_gpu(encoder: DualEncoder) -> bool:
    """Whether a model has its images occluded and preprocessed where it runs."""
    # The device first: a model may be loaded only once it is needed.
    return torch.device(encoder.device).type == "cuda" and encoder.on_device


def pixels_of(encoder: DualEncoder, images: Sequence[Image]) -> Tensor:
    """The model's input for some images, made on its device where that is a GPU.

    Args:
        encoder: The model.
        images: uint8 ``[height, width]`` each, at least one.

    Raises:
        ValueError: An image is not uint8, not two-dimensional, or empty.
    """
    if not on_gpu(encoder):
        return encoder.preprocess(images)
    device = torch.device(encoder.device)
    canvas = lay(images, pinned=device.type == "cuda")
    return encoder.preprocess_on_device(canvas.images.to(device, non_blocking=True), canvas.sizes)


class Canvases:
    """The images of an evaluation set on a device, batch by batch.

    A batch that was asked for once stays on the device while there is room. The others are read
    again each time and, on a GPU, laid into pinned memory by a thread while the device
    computes; pinned memory is given anew only when the copy out of it is done, which torch sees
    to.

    Args:
        device: Where the images are wanted.
        room: How many bytes of them may stay there; None for :data:`SHARE` of the free memory of
            a GPU, and for nothing elsewhere.
    """

    def __init__(self, device: str, *, room: int | None = None) -> None:
        self._device = torch.device(device)
        self._room = room
        self._kept: dict[tuple[str, ...], Canvas] = {}

    def __call__(
        self, batches: Sequence[Sequence[Pair]], decode: Callable[[Pair], Image]
    ) -> Generator[Canvas]:
        """The canvas of each batch, in order.

        Args:
            batches: The pairs of each batch; an image is known by its id.
            decode: Gives a pair's image; on a GPU it is called from another thread.
        """
        cuda = self._device.type == "cuda"

        def prepared() -> Generator[tuple[tuple[str, ...], Canvas]]:
            for batch in batches:
                names = tuple(pair.image_id for pair in batch)
                canvas = self._kept.get(names)
                yield names, canvas or lay([decode(pair) for pair in batch], pinned=cuda)

        for names, canvas in ahead(prepared(), background=cuda):
            images = canvas.images.to(self._device, non_blocking=True)
            there = Canvas(images, canvas.sizes)
            if names not in self._kept and self._fits(images.nbytes):
                self._kept[names] = there
            yield there

    def _fits(self, size: int) -> bool:
        """Whether that many bytes more may stay; if so, they are counted."""
        if self._room is None:
            cuda = self._device.type == "cuda"
            self._room = int(SHARE * torch.cuda.mem_get_info(self._device)[0]) if cuda else 0
        if size > self._room:
            return False
        self._room -= size
        return True
