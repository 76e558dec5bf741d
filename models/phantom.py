"""The reference dual encoder: small, trained on phantoms, carried with this package.

It exists so that the gate can be run and tested on any machine without a download. It
has seen procedural phantoms only and says nothing about any patient's image.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from models._phantom_network import EMBEDDING_DIM, MAX_TOKENS, TOKEN, Network, Vocabulary
from models._phantom_pixels import DEVIATION, MEAN, PIXELS, shrink
from models._pixels import check
from robustness.encoder import DualEncoder, TextPolicy
from robustness.errors import UsageError, WeightsError, WeightsNotFoundError

WEIGHTS = Path(__file__).with_name("phantom.safetensors")
"""The weights that come with this package; ``python -m models.train_phantom`` makes them."""

VOCABULARY_KEY = "vocabulary"
"""The entry of the file's metadata that holds the words: a JSON list of strings."""

TOGETHER = 2**21
"""Pixels averaged at once on the host: with more, memory costs more than the sums."""

_SCHEMA = f"phantom-encoder-1 area {PIXELS} mean {MEAN} deviation {DEVIATION} {TOKEN.pattern}"


class PhantomEncoder(DualEncoder):
    """The reference encoder, its weights loaded; see :class:`~robustness.encoder.DualEncoder`.

    Args:
        network: The towers, weights in place.
        vocabulary: The words that the text tower knows.
        fingerprint: The hash of the weights and of everything else that shapes an embedding.
        device: A torch device.
        details: Facts for the result.
    """

    on_device = True

    def __init__(
        self,
        network: Network,
        vocabulary: Vocabulary,
        fingerprint: str,
        device: str,
        details: dict[str, str],
    ) -> None:
        self._network = network.fused().to(device).requires_grad_(requires_grad=False)
        self._vocabulary = vocabulary
        self.fingerprint = fingerprint
        self.text_policy = TextPolicy(
            sections=("findings", "impression"),
            max_tokens=MAX_TOKENS,
            truncation=f"the first {MAX_TOKENS} tokens are kept",
        )
        self.embedding_dim = EMBEDDING_DIM
        self.device = device
        self.details = details

    def preprocess(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Centres each image on a black square and averages it down to 112 x 112 by area.

        Args:
            images: uint8 ``[height, width]`` each, 0 black; sizes may differ.

        Returns:
            float32 ``[B, 1, 112, 112]`` on the model's device, brightness 0 to 1 less 0.45,
            over 0.25.

        Raises:
            ValueError: An image is not uint8, not two-dimensional, or empty.
        """
        check(images)
        pixels = torch.empty(len(images), 1, PIXELS, PIXELS, device=self.device)
        for (height, width), indexes in _alike([image.shape for image in images]).items():
            step = min(len(indexes), max(1, TOGETHER // (height * width)))
            levels = torch.empty(step, height, width)
            for start in range(0, len(indexes), step):
                some = indexes[start : start + step]
                for place, index in enumerate(some):
                    levels[place] = torch.from_numpy(
                        np.require(images[index], requirements=("C", "W"))
                    )
                pixels[some, 0] = shrink(levels[: len(some)].to(self.device))
        return pixels

    def preprocess_on_device(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """The same where the images lie; see :class:`~robustness.encoder.DualEncoder`."""
        pixels = torch.empty(len(images), 1, PIXELS, PIXELS, device=images.device)
        for (height, width), indexes in _alike(sizes).items():
            pixels[indexes, 0] = shrink(images[indexes, :height, :width])
        return pixels

    @torch.inference_mode()
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Embeds preprocessed images: float32 ``[B, 192]``, rows of unit L2 norm."""
        if not len(pixels):
            return torch.empty(0, EMBEDDING_DIM, device=self.device)
        return F.normalize(self._network.image(pixels.to(self.device)), dim=1)

    @torch.inference_mode()
    def encode_reports(self, texts: Sequence[str]) -> Tensor:
        """Embeds report texts: float32 ``[B, 192]``, rows of unit L2 norm; a text may be empty."""
        if not texts:
            return torch.empty(0, EMBEDDING_DIM, device=self.device)
        ids = self._vocabulary.encode(texts).to(self.device)
        return F.normalize(self._network.text(ids), dim=1)


def _alike(sizes: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], list[int]]:
    """Which images have which size."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, size in enumerate(sizes):
        groups.setdefault(size, []).append(index)
    return groups


def load(weights: str | Path | None = None, device: str = "cpu", **options: Any) -> PhantomEncoder:
    """Loads the reference encoder.

    Args:
        weights: A safetensors file as ``python -m models.train_phantom`` writes it; None
            for the one that comes with this package.
        device: A torch device such as ``cpu`` or ``cuda:0``.
        **options: There are none.

    Raises:
        UsageError: An option is given.
        WeightsNotFoundError: The weights file is not there.
        WeightsError: It is not a file of this model's weights.
    """
    if options:
        raise UsageError(
            f"models.phantom:load takes no option {', '.join(map(repr, sorted(options)))};"
            " it takes weights and device only"
        )
    path = Path(weights) if weights is not None else WEIGHTS
    tensors, words, digest = _read(path)
    vocabulary = Vocabulary(words)
    # The towers start from random weights: loading must not advance the caller's numbers.
    with torch.random.fork_rng(devices=[]):
        network = Network(len(vocabulary))
    _check(path, tensors, network.stored())
    network.load_state_dict(tensors, strict=False)
    parts = json.dumps([digest, words, _SCHEMA, MAX_TOKENS])
    encoder = PhantomEncoder(
        network,
        vocabulary,
        fingerprint=hashlib.sha256(parts.encode()).hexdigest(),
        device=device,
        details={
            "weights_sha256": digest,
            "licence": "Apache-2.0",
            "source": "python -m models.train_phantom; procedural phantoms only, no patient data",
        },
    )
    encoder.checkpoint = path
    return encoder


def _read(path: Path) -> tuple[dict[str, Tensor], list[str], str]:
    """The tensors in float32, the vocabulary and the SHA-256 of a weights file."""
    if not path.exists():
        raise WeightsNotFoundError(
            f"weights {str(path)!r} are not there; python -m models.train_phantom makes them"
        )
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise _unusable(path, f"not a whole safetensors file ({reason})") from error
    try:
        words = json.loads(metadata.get(VOCABULARY_KEY, "null"))
    except json.JSONDecodeError as error:
        raise _unusable(path, f"its vocabulary is not JSON ({error})") from error
    if not (isinstance(words, list) and words and all(isinstance(word, str) for word in words)):
        raise _unusable(path, "its metadata holds no vocabulary, a JSON list of words")
    for name, tensor in tensors.items():
        if not (tensor.is_floating_point() and tensor.float().isfinite().all()):
            raise _unusable(path, f"tensor {name!r} holds values that are not finite floats")
    return {name: tensor.float() for name, tensor in tensors.items()}, words, digest


def _check(path: Path, tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    missing, unexpected = sorted(expected.keys() - tensors), sorted(tensors.keys() - expected)
    if missing or unexpected:
        raise _unusable(path, f"missing tensors {missing[:3]}, unexpected {unexpected[:3]}")
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape:
            found, wanted = list(tensors[name].shape), list(tensor.shape)
            raise _unusable(path, f"tensor {name!r} has shape {found}, not {wanted}")


def _unusable(path: Path, reason: str) -> WeightsError:
    return WeightsError(f"weights {str(path)!r} cannot be used: {reason}")
