"""Reference dual encoder: small, trained on phantoms, distributed with this package.

The gate can be run and tested with it on any machine without a download. It was trained on
procedural phantoms only, so its results say nothing about patients' images.

Source: ``python benchmarks/train_phantom.py``. Licence: Apache-2.0. Citation: this project.
Text: the findings and the impression, truncated to 160 tokens.
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
from torch import Tensor

from robustness.encoder import DualEncoder, TextPolicy
from robustness.errors import WeightsNotFoundError
from robustness.models._checkpoint import (
    Checkpoint,
    check_keys,
    load_strictly,
    read,
    reject_unknown_options,
    unusable,
)
from robustness.models._phantom_network import (
    DEVIATION,
    EMBEDDING_DIM,
    MAX_TOKENS,
    MEAN,
    PIXELS,
    TOKEN,
    Network,
    Vocabulary,
    shrink,
)
from robustness.models._preprocessing import check

WEIGHTS = Path(__file__).with_name("phantom.safetensors")
"""Weights distributed with this package, created by ``python benchmarks/train_phantom.py``."""

VOCABULARY_KEY = "vocabulary"
"""Metadata entry of the weights file with the words, a JSON list of strings."""

MAX_PIXELS_AT_ONCE = 2**21
"""Maximum pixels averaged at once on the host; more is slower because of memory traffic."""

_COMMAND = "python benchmarks/train_phantom.py"
_SCHEMA = f"phantom-encoder-1 area {PIXELS} mean {MEAN} deviation {DEVIATION} {TOKEN.pattern}"


class PhantomEncoder(DualEncoder):
    """Reference encoder with its weights; see :class:`~robustness.encoder.DualEncoder`.

    Args:
        network: The towers with their weights.
        vocabulary: The vocabulary of the text tower.
        fingerprint: The hash of the weights and of all settings that change an embedding.
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
        """Centre each image on a black square and average it by area to 112 x 112.

        Args:
            images: uint8 ``[height, width]`` each, 0 black; sizes may differ.

        Returns:
            float32 ``[B, 1, 112, 112]`` on the model's device: (brightness - 0.45) / 0.25,
            with brightness from 0 to 1.

        Raises:
            ValueError: An image is not uint8, not two-dimensional, or empty.
        """
        check(images)
        pixels = torch.empty(len(images), 1, PIXELS, PIXELS, device=self.device)
        for (height, width), indexes in _by_size([image.shape for image in images]).items():
            step = min(len(indexes), max(1, MAX_PIXELS_AT_ONCE // (height * width)))
            levels = torch.empty(step, height, width)
            for start in range(0, len(indexes), step):
                chunk = indexes[start : start + step]
                for row, index in enumerate(chunk):
                    levels[row] = torch.from_numpy(
                        np.require(images[index], requirements=("C", "W"))
                    )
                pixels[chunk, 0] = shrink(levels[: len(chunk)].to(self.device))
        return pixels

    def preprocess_on_device(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Preprocess on the device of the images; see :class:`~robustness.encoder.DualEncoder`."""
        pixels = torch.empty(len(images), 1, PIXELS, PIXELS, device=images.device)
        for (height, width), indexes in _by_size(sizes).items():
            pixels[indexes, 0] = shrink(images[indexes, :height, :width])
        return pixels

    @torch.inference_mode()
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Embed preprocessed images: float32 ``[B, 192]``, rows of unit L2 norm."""
        if not len(pixels):
            return torch.empty(0, EMBEDDING_DIM, device=self.device)
        return F.normalize(self._network.image(pixels.to(self.device)), dim=1)

    @torch.inference_mode()
    def encode_reports(self, texts: Sequence[str]) -> Tensor:
        """Embed report texts: float32 ``[B, 192]``, rows of unit L2 norm; a text may be empty."""
        if not texts:
            return torch.empty(0, EMBEDDING_DIM, device=self.device)
        ids = self._vocabulary.encode(texts).to(self.device)
        return F.normalize(self._network.text(ids), dim=1)


def _by_size(sizes: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], list[int]]:
    """Return the indexes of the images of each size."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, size in enumerate(sizes):
        groups.setdefault(size, []).append(index)
    return groups


def load(weights: str | Path | None = None, device: str = "cpu", **options: Any) -> PhantomEncoder:
    """Load the reference encoder.

    Args:
        weights: A file written by ``python benchmarks/train_phantom.py``; None for the
            one in this package.
        device: A torch device such as ``cpu`` or ``cuda:0``.
        **options: No options are allowed.

    Raises:
        UsageError: An option is given.
        WeightsNotFoundError: The weights file is not found.
        WeightsError: The file does not contain weights of this model.
    """
    reject_unknown_options("robustness.models.phantom:load", options, ())
    path = Path(weights) if weights is not None else WEIGHTS
    if not path.exists():
        raise WeightsNotFoundError(
            f"weights file {str(path)!r} not found; create it with {_COMMAND}"
        )
    checkpoint = read(path)
    words = _words(checkpoint)
    vocabulary = Vocabulary(words)
    # The initial weights are random. Loading must not advance the caller's generator.
    with torch.random.fork_rng(devices=[]):
        network = Network(len(vocabulary))
    expected, state = network.stored(), checkpoint.state
    check_keys(path, expected.keys() - state, state.keys() - expected)
    load_strictly(network, network.state_dict() | state, path=path)
    parts = json.dumps([checkpoint.sha256, words, _SCHEMA, MAX_TOKENS])
    encoder = PhantomEncoder(
        network,
        vocabulary,
        fingerprint=hashlib.sha256(parts.encode()).hexdigest(),
        device=device,
        details={
            "weights_sha256": checkpoint.sha256,
            "licence": "Apache-2.0",
            "source": f"{_COMMAND}; procedural phantoms only, no patient data",
        },
    )
    encoder.checkpoint = path
    return encoder


def _words(checkpoint: Checkpoint) -> list[str]:
    try:
        words = json.loads(checkpoint.metadata.get(VOCABULARY_KEY, "null"))
    except json.JSONDecodeError as error:
        raise unusable(checkpoint.path, f"its vocabulary is not JSON ({error})") from error
    if not (isinstance(words, list) and words and all(isinstance(word, str) for word in words)):
        raise unusable(
            checkpoint.path, "its metadata has no vocabulary, which is a JSON list of words"
        )
    return words
