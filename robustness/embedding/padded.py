"""Padded batches of decoded images, occluded and preprocessed on the model's device."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from robustness._util.threads import each
from robustness.encoder import DualEncoder
from robustness.evalset import Image, Pair
from robustness.perturbation.occlusion import FILLS, Occlusion

MAX_MEMORY_SHARE = 0.25
"""Share of a GPU's free memory that batches may occupy; other processes may need the rest."""

Size = tuple[int, int]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PaddedBatch:
    """Images of different sizes, each at the top left of its part of one tensor.

    Attributes:
        images: uint8 ``[B, H, W]``; the padding is undefined.
        sizes: Height and width of each image.
    """

    images: Tensor
    sizes: tuple[Size, ...]


def pad(images: Sequence[Image], *, pinned: bool = False) -> PaddedBatch:
    """Copy images into one padded batch on the host.

    Args:
        images: uint8 ``[height, width]`` each, at least one.
        pinned: True to use pinned memory, which a GPU copies asynchronously.

    Raises:
        ValueError: An image is not uint8, not two-dimensional, or empty.
    """
    for index, image in enumerate(images):
        # The assignment below would convert another type silently.
        if image.dtype != np.uint8 or image.ndim != 2 or not image.size:  # noqa: PLR2004
            raise ValueError(
                f"image {index} is {image.dtype} {list(image.shape)};"
                " an image is uint8 [height, width], neither of them 0"
            )
    sizes = tuple((image.shape[0], image.shape[1]) for image in images)
    height, width = np.max(sizes, axis=0).tolist()
    batch = torch.empty(len(images), height, width, dtype=torch.uint8, pin_memory=pinned)
    rows = batch.numpy()

    def copy(index: int) -> None:
        rows[index][tuple(map(slice, sizes[index]))] = images[index]

    each(copy, range(len(images)), threads=torch.get_num_threads())
    return PaddedBatch(batch, sizes)


def uses_gpu(encoder: DualEncoder) -> bool:
    """Return True if a model's images are occluded and preprocessed on a GPU."""
    # The device first: reading on_device may load the model.
    return torch.device(encoder.device).type == "cuda" and encoder.on_device


def preprocess(encoder: DualEncoder, images: Sequence[Image]) -> Tensor:
    """Convert images to the model's input, on its device if that is a GPU.

    Args:
        encoder: The model.
        images: uint8 ``[height, width]`` each, at least one.

    Raises:
        ValueError: An image is not uint8, not two-dimensional, or empty.
    """
    if not uses_gpu(encoder):
        return encoder.preprocess(images)
    device = torch.device(encoder.device)
    batch = pad(images, pinned=device.type == "cuda")
    return encoder.preprocess_on_device(batch.images.to(device, non_blocking=True), batch.sizes)


class DeviceBatches:
    """Padded batches of an evaluation set on a device; batches stay there while there is room.

    Other batches are decoded again each time. On a GPU, a thread copies the next batch into
    pinned memory while the device computes; torch reuses that memory only after the copy to the
    device is done.

    Args:
        device: Torch device of the batches.
        room: Maximum number of bytes that stay on the device. None means
            :data:`MAX_MEMORY_SHARE` of a GPU's free memory, and 0 on other devices.
    """

    def __init__(self, device: str, *, room: int | None = None) -> None:
        self._device = torch.device(device)
        self._room = room
        self._cached: dict[tuple[str, ...], PaddedBatch] = {}

    def __call__(
        self, batches: Sequence[Sequence[Pair]], decode: Callable[[Pair], Image]
    ) -> Generator[PaddedBatch]:
        """Yield the padded batches in order.

        Args:
            batches: Pairs of each batch; images are identified by their ids.
            decode: Returns a pair's image; on a GPU it is called from another thread.
        """
        cuda = self._device.type == "cuda"

        def padded() -> Generator[tuple[tuple[str, ...], PaddedBatch]]:
            for pairs in batches:
                ids = tuple(pair.image_id for pair in pairs)
                cached = self._cached.get(ids)
                yield ids, cached or pad([decode(pair) for pair in pairs], pinned=cuda)

        for ids, batch in prefetch(padded()) if cuda else padded():
            images = batch.images.to(self._device, non_blocking=True)
            moved = PaddedBatch(images, batch.sizes)
            if ids not in self._cached and self._reserve(images.nbytes):
                self._cached[ids] = moved
            yield moved

    def _reserve(self, size: int) -> bool:
        """Reserve room for a number of bytes; return False if there is not enough."""
        if self._room is None:
            cuda = self._device.type == "cuda"
            free = torch.cuda.mem_get_info(self._device)[0] if cuda else 0
            self._room = int(MAX_MEMORY_SHARE * free)
        if size > self._room:
            return False
        self._room -= size
        return True


def prefetch(items: Iterable[T]) -> Generator[T]:
    """Yield items in order; one thread makes the next item while the caller uses the last.

    Raises:
        Exception: The error that making an item raised, in that item's turn.
    """
    iterator = ((item,) for item in items)
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        pending = pool.submit(next, iterator, None)
        while (item := pending.result()) is not None:
            pending = pool.submit(next, iterator, None)
            yield item[0]


def apply_on_device(
    occlusion: Occlusion, images: Tensor, image_ids: Sequence[str], sizes: Sequence[Size]
) -> Tensor:
    """Return a copy of a batch of images with the hidden pixels filled.

    It is bitwise equal to :meth:`Occlusion.apply` of each image.

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
    return images.masked_fill(_box_mask(boxes, images), FILLS[occlusion.fill])


def _box_mask(boxes: Sequence[np.ndarray], images: Tensor) -> Tensor:
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
