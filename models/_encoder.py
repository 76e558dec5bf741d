"""Encoder of models with two towers and one preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from PIL import Image
from torch import Tensor, nn

from robustness._util.threads import each
from robustness.encoder import DualEncoder, TextPolicy
from robustness.models._preprocessing import Grey, Pixels, Size, check


class OneByOne(Pixels):
    """Preprocessing of another library that takes one Pillow image at a time.

    Args:
        prepare: Function from an RGB image to float32 ``[3, side, side]``.
    """

    def __init__(self, prepare: Callable[[Image.Image], Tensor]) -> None:
        self._prepare = prepare

    def host(self, images: Sequence[Grey]) -> Tensor:
        """See :class:`Pixels`."""
        check(images)
        rows = each(
            lambda image: self._prepare(Image.fromarray(image).convert("RGB")),
            images,
            threads=torch.get_num_threads(),
        )
        return torch.stack(rows) if rows else torch.empty(0)


class TwoTowers(DualEncoder):
    """A model with its weights loaded; see :class:`~robustness.encoder.DualEncoder`.

    Args:
        name: The display name of the model.
        network: The towers, in float32; moved to the device.
        pixels: The preprocessing.
        images: Function of the network and of pixels on the device, in the dtype of the
            network, to ``[B, D]``.
        texts: Function of the network and of texts to ``[B, D]``.
        embedding_dim: D.
        fingerprint: The hash of the weights and of all settings that change an embedding.
        text_policy: The text of a report that the model reads.
        device: A torch device.
        details: Facts for the result.
        checkpoint: The file of the weights, if there is one.
        folder: The folder of all other files of the model, if there is one.
    """

    def __init__(  # noqa: PLR0913 - required by the interface
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
        # In training mode, batch norm makes an embedding depend on its batch.
        self.network = network.eval().requires_grad_(requires_grad=False).to(device)
        self._active, self._dtype = self.network, torch.float32
        self._low_precision: dict[str, nn.Module] = {}
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
        """Display name of the model."""
        return self._name

    def preprocess(self, images: Sequence[Grey]) -> Tensor:
        """Preprocess images for the model.

        Args:
            images: uint8 ``[height, width]`` each, 0 black; sizes may differ.

        Returns:
            float32 ``[B, 3, side, side]`` on the model's device.

        Raises:
            ValueError: An image is not uint8, not two-dimensional, or empty.
        """
        return self._pixels.host(images).to(self.device)

    def preprocess_on_device(self, images: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Preprocess on the device of the images; see :class:`~robustness.encoder.DualEncoder`."""
        return self._pixels.device(images, sizes)

    @contextmanager
    def computing_in(self, precision: str) -> Iterator[None]:
        """Compute with 16-bit weights and activations inside the context.

        Autocast would cast each weight again at every use, and on a CPU it disables the fast
        path of PyTorch's attention. Together that costs more than 16 bits save.
        """
        dtype: torch.dtype = getattr(torch, precision)
        if precision not in self._low_precision:
            self._low_precision = {precision: _cast_copy(self.network, dtype)}
        self._active, self._dtype = self._low_precision[precision], dtype
        try:
            yield
        finally:
            self._active, self._dtype = self.network, torch.float32

    @torch.inference_mode()
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Embed preprocessed images: float32 ``[B, D]``, rows of unit L2 norm."""
        if not len(pixels):
            return torch.empty(0, self.embedding_dim, device=self.device)
        rows = self._images(self._active, pixels.to(self.device, self._dtype))
        return F.normalize(rows.float(), dim=1)

    @torch.inference_mode()
    def encode_reports(self, texts: Sequence[str]) -> Tensor:
        """Embed report texts: float32 ``[B, D]``, rows of unit L2 norm; a text may be empty."""
        if not texts:
            return torch.empty(0, self.embedding_dim, device=self.device)
        return F.normalize(self._texts(self._active, list(texts)).float(), dim=1)


def _cast_copy(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a copy of a network with its floating-point tensors cast to another dtype."""
    memo: dict[int, Any] = {}
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point():
            cast = tensor.detach().to(dtype)
            is_parameter = isinstance(tensor, nn.Parameter)
            memo[id(tensor)] = nn.Parameter(cast, requires_grad=False) if is_parameter else cast
    # deepcopy does not copy the objects in its memo, so no second float32 copy is made.
    return deepcopy(network, memo)
