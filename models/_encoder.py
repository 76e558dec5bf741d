"""The encoder of every model that is made of two towers and one preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from PIL import Image
from torch import Tensor, nn

from models import _pixels
from models._preprocessing import Size
from robustness.encoder import DualEncoder, TextPolicy
from robustness.parallel import each


class Pixels(Protocol):
    """How radiographs become a model's input; see :class:`models._preprocessing.Preprocessing`.

    Attributes:
        on_device: Whether :meth:`device` is offered.
    """

    @property
    def on_device(self) -> bool:
        """See above."""
        ...

    def host(self, images: Sequence[_pixels.Grey]) -> Tensor:
        """Uint8 ``[height, width]`` each to float32 ``[B, 3, side, side]``, on the host."""
        ...

    def device(self, images: Tensor, sizes: Sequence[Size]) -> Tensor:
        """The same where the images lie; see ``DualEncoder.preprocess_on_device``."""
        ...


class OneByOne:
    """Another library's preprocessing, which takes one Pillow image at a time.

    Args:
        prepare: An RGB image to float32 ``[3, side, side]``.
    """

    on_device = False

    def __init__(self, prepare: Callable[[Image.Image], Tensor]) -> None:
        self._prepare = prepare

    def host(self, images: Sequence[_pixels.Grey]) -> Tensor:
        """See :class:`Pixels`.

        Raises:
            ValueError: An image is not uint8, not two-dimensional, or empty.
        """
        _pixels.check(images)
        rows = each(lambda image: self._prepare(Image.fromarray(image).convert("RGB")), images)
        return torch.stack(rows) if rows else torch.empty(0)

    def device(self, images: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Not offered."""
        raise NotImplementedError


class TwoTowers(DualEncoder):
    """A model with its weights loaded; see :class:`~robustness.encoder.DualEncoder`.

    Args:
        name: What the model is called in errors.
        network: The towers, in float32; moved to the device.
        pixels: How radiographs become pixels.
        images: Pixels on the device, of the network's dtype, to ``[B, D]``, by the network.
        texts: Texts to ``[B, D]``, by the network.
        embedding_dim: D.
        fingerprint: The hash of the weights and of everything else that shapes an embedding.
        text_policy: Which text of a report the model reads.
        device: Where the model runs.
        details: Facts for the result.
        checkpoint: The file the weights were read from, where there is one.
        folder: The folder that holds all else the model was read from, where there is one.
    """

    def __init__(  # noqa: PLR0913 - what the interface asks for
        self,
        name: str,
        network: nn.Module,
        *,
        pixels: Pixels,
        images: Callable[[Any, Tensor], Tensor],
        texts: Callable[[Any, list[str]], Tensor],
        embedding_dim: int,
        fingerprint: str,
        text_policy: TextPolicy,
        device: str,
        details: dict[str, str],
        checkpoint: Path | None,
        folder: Path | None = None,
    ) -> None:
        # eval() matters: a ResNet in training mode embeds an image by its batch.
        self.network = network.eval().requires_grad_(requires_grad=False).to(device)
        self._computing, self._dtype = self.network, torch.float32
        self._in_16_bits: dict[str, nn.Module] = {}
        self._name = name
        self._pixels = pixels
        self._images = images
        self._texts = texts
        self.embedding_dim = embedding_dim
        self.fingerprint = fingerprint
        self.text_policy = text_policy
        self.device = device
        self.details = details
        self.checkpoint = checkpoint
        self.folder = folder
        self.on_device = pixels.on_device

    @property
    def name(self) -> str:
        """What the model is called."""
        return self._name

    def preprocess(self, images: Sequence[_pixels.Grey]) -> Tensor:
        """Applies the model's own preprocessing to each image.

        Args:
            images: uint8 ``[height, width]`` each, 0 black; sizes may differ.

        Returns:
            float32 ``[B, 3, side, side]`` on the model's device.

        Raises:
            ValueError: An image is not uint8, not two-dimensional, or empty.
        """
        return self._pixels.host(images).to(self.device)

    def preprocess_on_device(self, images: Tensor, sizes: Sequence[Size]) -> Tensor:
        """The same where the images lie; see :class:`~robustness.encoder.DualEncoder`."""
        return self._pixels.device(images, sizes)

    @contextmanager
    def computing_in(self, precision: str) -> Iterator[None]:
        """Computes with weights and activations in 16 bits while it lasts.

        Autocast would take each weight down anew at every use, and on a CPU has PyTorch's
        attention leave its fast path: together that costs more than the 16 bits save.
        """
        dtype: torch.dtype = getattr(torch, precision)
        if precision not in self._in_16_bits:
            self._in_16_bits = {precision: _taken_to(self.network, dtype)}
        self._computing, self._dtype = self._in_16_bits[precision], dtype
        try:
            yield
        finally:
            self._computing, self._dtype = self.network, torch.float32

    @torch.inference_mode()
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Embeds preprocessed images: float32 ``[B, D]``, rows of unit L2 norm."""
        if not len(pixels):
            return torch.empty(0, self.embedding_dim, device=self.device)
        rows = self._images(self._computing, pixels.to(self.device, self._dtype))
        return F.normalize(rows.float(), dim=1)

    @torch.inference_mode()
    def encode_reports(self, texts: Sequence[str]) -> Tensor:
        """Embeds report texts: float32 ``[B, D]``, rows of unit L2 norm; a text may be empty."""
        if not texts:
            return torch.empty(0, self.embedding_dim, device=self.device)
        return F.normalize(self._texts(self._computing, list(texts)).float(), dim=1)


def _taken_to(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of a network, its floating tensors of another type."""
    taken: dict[int, Any] = {}
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point():
            low = tensor.detach().to(dtype)
            kept = isinstance(tensor, nn.Parameter)
            taken[id(tensor)] = nn.Parameter(low, requires_grad=False) if kept else low
    # deepcopy takes what it finds here for copied: the 32 bits are never there twice.
    return deepcopy(network, taken)
