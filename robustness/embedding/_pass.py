"""One pass over the images of a set, under several occlusions at once."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustness._util.profile import DECODING, IMAGES, OCCLUSION, PREPROCESSING, Profile
from robustness._util.progress import Stream, progress
from robustness._util.threads import each
from robustness.embedding._ahead import ahead
from robustness.embedding._embed import encode_images, stacked
from robustness.embedding.canvas import Canvases, on_gpu
from robustness.encoder import DualEncoder
from robustness.evalset import EvaluationSet, Image, Pair
from robustness.perturbation.occlusion import FILLS, Occlusion


@dataclass(frozen=True, slots=True)
class _Ready:
    """A batch that only the model itself is left to work on.

    Attributes:
        number: Of the occlusion.
        pixels: The model's input.
        hidden: The share of each image's area that is hidden.
    """

    number: int
    pixels: Tensor
    hidden: list[float]


@dataclass(frozen=True, slots=True)
class Pass:
    """How images are embedded.

    On a GPU a model that offers device preprocessing has its images occluded and preprocessed
    there; for any other a thread prepares the next batch while the GPU computes. On the CPU
    nothing runs beside the model, which has all the cores.

    Attributes:
        encoder: The model.
        canvases: The images on the model's device.
        on_device: Whether images are occluded and preprocessed there; None to do so on a GPU
            where the model offers it.
        batch_size: Images a forward pass.
        precision: What the model computes in.
        profile: Where the time is counted; touched from the caller's thread only.
        stream: Where progress is shown.
    """

    encoder: DualEncoder
    canvases: Canvases
    on_device: bool | None
    batch_size: int
    precision: str
    profile: Profile
    stream: Stream | None

    def embed(
        self, evalset: EvaluationSet, occlusions: Sequence[Occlusion]
    ) -> list[dict[str, NDArray[np.floating]]]:
        """Embeds every image of a set under every occlusion.

        Args:
            evalset: The set; its ``decode`` is called from another thread where there is a GPU.
            occlusions: What is hidden.

        Returns:
            For each occlusion the ``embeddings``, float32 ``[N, D]``, and the share that is
            ``hidden`` of each image, float64 ``[N]``.
        """
        parts: list[list[NDArray[np.float32]]] = [[] for _ in occlusions]
        hidden: list[list[float]] = [[] for _ in occlusions]
        with closing(self._ready(evalset, occlusions)) as batches:
            # Decoding, which the first batch begins with, has a bar of its own.
            first = next(batches)
            total = len(evalset) * len(occlusions)
            with progress(total, "embedding", "images", self.stream) as advance:
                for batch in chain([first], batches):
                    with self.profile.phase(IMAGES, len(batch.hidden)):
                        rows = encode_images(
                            self.encoder, batch.pixels, len(batch.hidden), self.precision
                        )
                    parts[batch.number].append(rows)
                    hidden[batch.number] += batch.hidden
                    advance(len(batch.hidden))
        return [
            {"embeddings": stacked(self.encoder, rows), "hidden": np.array(shares)}
            for rows, shares in zip(parts, hidden, strict=True)
        ]

    def _ready(self, evalset: EvaluationSet, occlusions: Sequence[Occlusion]) -> Generator[_Ready]:
        """The batches, made in this thread, or one ahead of it."""
        cuda = torch.device(self.encoder.device).type == "cuda"
        if on_gpu(self.encoder) if self.on_device is None else self.on_device:
            yield from self._on_device(evalset, occlusions)
            return
        if not cuda:
            yield from self._on_host(evalset, occlusions, self.profile)
            return
        # What the thread takes overlaps with the model; what counts is the wait for it.
        beside = Profile()
        with closing(ahead(self._on_host(evalset, occlusions, beside), background=True)) as batches:
            while True:
                with self.profile.phase(PREPROCESSING):
                    batch = next(batches, None)
                if batch is None:
                    break
                yield batch
        for name, phase in beside.phases.items():
            with self.profile.phase(name, phase.items):
                pass

    def _on_host(
        self, evalset: EvaluationSet, occlusions: Sequence[Occlusion], profile: Profile
    ) -> Generator[_Ready]:
        for pairs in self._batches(evalset):
            with profile.phase(DECODING, len(pairs)):
                images = [evalset.decode(pair) for pair in pairs]
            for number, occlusion in enumerate(occlusions):
                with profile.phase(OCCLUSION, len(pairs)):
                    shares = _shares(occlusion, pairs, [image.shape for image in images])
                    occluded = each(partial(_hide, occlusion), zip(images, pairs, strict=True))
                with profile.phase(PREPROCESSING, len(pairs)):
                    pixels = self.encoder.preprocess(occluded)
                yield _Ready(number, pixels, shares)

    def _on_device(
        self, evalset: EvaluationSet, occlusions: Sequence[Occlusion]
    ) -> Generator[_Ready]:
        batches = self._batches(evalset)
        with closing(self.canvases(batches, evalset.decode)) as laid:
            for pairs in batches:
                with self.profile.phase(DECODING, len(pairs)):
                    canvas = next(laid)
                for number, occlusion in enumerate(occlusions):
                    names = [pair.image_id for pair in pairs]
                    with self.profile.phase(OCCLUSION, len(pairs)):
                        shares = _shares(occlusion, pairs, canvas.sizes)
                        images = apply_on_device(occlusion, canvas.images, names, canvas.sizes)
                    with self.profile.phase(PREPROCESSING, len(pairs)):
                        pixels = self.encoder.preprocess_on_device(images, canvas.sizes)
                        if pixels.is_cuda:
                            # What was begun above is counted here, not as the model's own.
                            torch.cuda.synchronize(pixels.device)
                    yield _Ready(number, pixels, shares)

    def _batches(self, evalset: EvaluationSet) -> list[tuple[Pair, ...]]:
        starts = range(0, len(evalset), self.batch_size)
        return [evalset.pairs[start : start + self.batch_size] for start in starts]


def _hide(occlusion: Occlusion, of: tuple[Image, Pair]) -> Image:
    image, pair = of
    return occlusion.apply(image, pair.image_id)


def _shares(
    occlusion: Occlusion, pairs: Sequence[Pair], sizes: Sequence[tuple[int, ...]]
) -> list[float]:
    return [
        occlusion.hidden_share(pair.image_id, size[0], size[1])
        for pair, size in zip(pairs, sizes, strict=True)
    ]


def apply_on_device(
    occlusion: Occlusion,
    images: Tensor,
    image_ids: Sequence[str],
    sizes: Sequence[tuple[int, int]],
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
