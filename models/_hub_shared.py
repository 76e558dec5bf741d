"""What both hub loaders share: the encoder, the hub's errors, a tokenizer's identity and fit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError
from PIL import Image
from torch import Tensor, nn

from models import _checkpoint, _pixels
from models._preprocessing import Size
from robustness.encoder import DualEncoder, TextPolicy
from robustness.errors import WeightsError, WeightsNotFoundError
from robustness.parallel import each

TEXT_FILES = ("*.json", "*.txt", "*.model")
"""Configurations and vocabularies, as repositories of models name them."""


class Pixels(Protocol):
    """How radiographs become a model's input.

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


class HubEncoder(DualEncoder):
    """A model from the hub, its weights loaded; see :class:`~robustness.encoder.DualEncoder`.

    Args:
        preprocessing: How radiographs become pixels.
        images: Pixels on the device to ``[B, D]``.
        texts: Texts to ``[B, D]``.
        fingerprint: The hash of the weights and of everything else that shapes an embedding.
        text_policy: Which text of a report the model reads.
        device: Where the model runs.
        details: Facts for the result.
    """

    def __init__(  # noqa: PLR0913 - what the interface asks for
        self,
        preprocessing: Pixels,
        images: Callable[[Tensor], Tensor],
        texts: Callable[[list[str]], Tensor],
        *,
        fingerprint: str,
        text_policy: TextPolicy,
        device: str,
        details: dict[str, str],
    ) -> None:
        self._preprocessing = preprocessing
        self.on_device = preprocessing.on_device
        self._images = images
        self._texts = texts
        self.fingerprint = fingerprint
        self.text_policy = text_policy
        self.device = device
        self.details = details
        with torch.inference_mode():
            self.embedding_dim = texts([""]).shape[1]

    def preprocess(self, images: Sequence[_pixels.Grey]) -> Tensor:
        """Applies the model's own preprocessing to each image.

        Args:
            images: uint8 ``[height, width]`` each, 0 black; sizes may differ.

        Returns:
            float32 ``[B, 3, side, side]`` on the model's device.

        Raises:
            ValueError: An image is not uint8, not two-dimensional, or empty.
        """
        return self._preprocessing.host(images).to(self.device)

    def preprocess_on_device(self, images: Tensor, sizes: Sequence[Size]) -> Tensor:
        """The same where the images lie; see :class:`~robustness.encoder.DualEncoder`."""
        return self._preprocessing.device(images, sizes)

    @torch.inference_mode()
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Embeds preprocessed images: float32 ``[B, D]``, rows of unit L2 norm."""
        if not len(pixels):
            return torch.empty(0, self.embedding_dim, device=self.device)
        return F.normalize(self._images(pixels.to(self.device)), dim=1)

    @torch.inference_mode()
    def encode_reports(self, texts: Sequence[str]) -> Tensor:
        """Embeds report texts: float32 ``[B, D]``, rows of unit L2 norm; a text may be empty."""
        if not texts:
            return torch.empty(0, self.embedding_dim, device=self.device)
        return F.normalize(self._texts(list(texts)), dim=1)


def policy(sections: tuple[str, ...], limit: int) -> TextPolicy:
    """What a model reads whose own tokenizer cuts the text."""
    return TextPolicy(sections, limit, f"cut to {limit} tokens by the model's own tokenizer")


def snapshot(model: str, repository: str, patterns: Sequence[str]) -> Path:
    """The directory of a hub repository's files, from the hub or its cache.

    Args:
        model: What was asked for, for the error.
        repository: ``organisation/name``.
        patterns: The files that are needed, where the repository has them.

    Raises:
        WeightsNotFoundError: There is no such repository, it is closed to this user, or the
            hub is out of reach and nothing is cached.
    """
    try:
        return Path(snapshot_download(repository, allow_patterns=list(patterns)))
    except (OSError, HFValidationError) as error:
        # Out of reach, with some of the files cached: the caller sees which are there.
        cached = getattr(error, "snapshot_path", None)
        if cached is not None:
            return Path(cached)
        raise WeightsNotFoundError(
            f"{model}: {repository} is not in the hub's cache and cannot be had from the hub"
            f" ({reason(error)}); correct the name, or download"
            f" https://huggingface.co/{repository} (licence and terms of access on that page)"
            " and name its directory as the model's weights"
        ) from error


def no_tokenizer(folder: Path, error: Exception) -> WeightsNotFoundError:
    """The error for a directory that no tokenizer can be made of."""
    return WeightsNotFoundError(
        f"directory {str(folder)!r}: no tokenizer can be made of it ({reason(error)}); name the"
        " directory of one as tokenizer=DIRECTORY"
    )


def reason(error: Exception) -> str:
    """An error of another library, on one line and short."""
    return f"{' '.join(str(error).split()) or type(error).__name__:.240}"


def identity(tokenizer: Any) -> str:
    """A hash of a transformers tokenizer, before its first use: rules, words, switches."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else ""
    words = sorted(tokenizer.get_vocab().items())
    # Switches such as do_lower_case; what else stands there are names and paths.
    switches = {k: v for k, v in tokenizer.init_kwargs.items() if isinstance(v, bool)}
    parts = [type(tokenizer).__name__, rules, words, sorted(switches.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def check_vocabulary(tokenizer: Any, words: int, where: str) -> None:
    """Refuses a tokenizer that knows more tokens than the model.

    Raises:
        WeightsError: An id would lie beyond the model's table.
    """
    largest = max(tokenizer.get_vocab().values(), default=-1) + 1
    if largest > words:
        raise WeightsError(
            f"tokenizer of {where!r} has a vocabulary of {largest} words, the model one of"
            f" {words}; name the model's own as tokenizer=DIRECTORY"
        )


def check_finite(model: nn.Module, path: Path) -> None:
    """Refuses weights that are not finite numbers.

    Raises:
        WeightsError: A tensor holds NaN or infinity.
    """
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise _checkpoint.unusable(path, f"tensor {key!r} holds values that are not finite")
