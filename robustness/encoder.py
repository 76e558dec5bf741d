"""Encoder interface of a model, and loading by an importable name.

torch is imported inside functions: pytest imports this module at collection, which must not
import torch.
"""

from __future__ import annotations

import importlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustness.errors import LoaderError, WeightsNotFoundError

if TYPE_CHECKING:
    from torch import Tensor

    from robustness.evalset import Report

WEIGHTS_FOLDER_VARIABLE = "ROBUSTNESS_WEIGHTS"
"""Environment variable with a folder of checkpoints under their published file names."""


@dataclass(frozen=True, slots=True)
class TextPolicy:
    """Text of a report that a model reads; recorded in every result.

    Attributes:
        sections: Names of report sections, joined by a space in this order.
        max_tokens: Maximum number of tokens, special tokens included.
        truncation: Short description of what happens to longer texts.
    """

    sections: tuple[str, ...]
    max_tokens: int
    truncation: str

    def text(self, report: Report) -> str:
        """Return the text of ``report`` under this policy; empty if it has none of the sections."""
        return report.text(self.sections)


class DualEncoder(ABC):
    """An image encoder and a text encoder with a common embedding space.

    Subclass it for a model under test. The contract, checked by :mod:`robustness.conformance`:

    - An embedding depends on its own input alone, not on the batch, its order or its padding.
      Put the modules in eval mode and compute without gradients.
    - Embeddings are finite, the same each time, float32 and, if compared by cosine, of unit norm.
    - Any image size and any text, including the empty one, can be embedded.

    Attributes:
        fingerprint: Hash of the weights and of everything else that affects an embedding. The
            embedding store uses it as a key: encoders with equal fingerprints share embeddings.
        text_policy: Text of a report that the model reads.
        embedding_dim: D, the length of an embedding.
        device: Torch device of the model, such as ``cuda:0``.
        details: Facts for the results, as strings: SHA-256 of the weights, source, licence.
        checkpoint: File that the weights were read from, or None.
        folder: Folder with everything else that the model was read from, or None.
        on_device: True if :meth:`preprocess_on_device` is implemented.
    """

    fingerprint: str
    text_policy: TextPolicy
    embedding_dim: int
    device: str
    details: dict[str, str]
    checkpoint: Path | None = None
    folder: Path | None = None
    on_device: bool = False

    @abstractmethod
    def preprocess(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Convert decoded images to the model's input.

        Args:
            images: uint8 ``[height, width]`` each, 0 is black. Sizes may differ.

        Returns:
            float32 ``[B, ...]`` on the model's device.
        """

    def preprocess_on_device(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Convert images to the model's input without leaving the device.

        Optional: set ``on_device`` to True to offer it. It is then used on a GPU, where the
        images are also perturbed. The result must equal that of :meth:`preprocess` to within one
        grey level.

        Args:
            images: uint8 ``[B, H, W]``, 0 is black, on the model's device. Image ``i`` is at the
                top left of ``images[i]``; the values outside it are undefined.
            sizes: Height and width of each image, in pixels.

        Returns:
            float32 ``[B, ...]`` on the model's device.
        """
        raise NotImplementedError

    @abstractmethod
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Embed preprocessed images.

        Args:
            pixels: Result of :meth:`preprocess`, float32 ``[B, ...]``.

        Returns:
            float32 ``[B, D]``, rows of unit L2 norm.
        """

    @abstractmethod
    def encode_reports(self, texts: Sequence[str]) -> Tensor:
        """Embed report texts.

        Args:
            texts: B texts; each may be empty or longer than the model reads.

        Returns:
            float32 ``[B, D]``, rows of unit L2 norm.
        """

    def computing_in(self, precision: str) -> AbstractContextManager[object]:
        """Return a context in which both ``encode_*`` methods compute in 16 bits.

        The default is autocast. Embeddings may be returned in 16 bits; the caller converts them
        to float32 and, if they are compared by cosine, restores their unit norm.

        Args:
            precision: ``bfloat16`` or ``float16``.
        """
        import torch

        return torch.autocast(torch.device(self.device).type, dtype=getattr(torch, precision))

    def score(self, images: Tensor, reports: Tensor) -> Tensor:
        """Score every image against every report, by cosine unless overridden.

        A model with another score, such as cross attention, overrides this method. Its
        ``encode_*`` methods return the inputs of the score, flattened to rows of any norm.

        Args:
            images: float32 ``[B, D]``, from :meth:`encode_images`.
            reports: float32 ``[M, D]``, from :meth:`encode_reports`.

        Returns:
            float32 ``[B, M]``; a higher score is a better match.
        """
        return images @ reports.T

    @property
    def name(self) -> str:
        """Class name of the model, for error messages."""
        return type(self).__name__

    @property
    def scores_by_cosine(self) -> bool:
        """True if :meth:`score` is not overridden."""
        return type(self).score is DualEncoder.score


REQUIRED_ATTRIBUTES = {
    "fingerprint": str,
    "text_policy": TextPolicy,
    "embedding_dim": int,
    "device": str,
    "details": dict,
}
"""Required attributes of an encoder, with their types."""


def load(
    loader: str,
    *,
    weights: str | Path | None = None,
    device: str = "cpu",
    **options: Any,
) -> DualEncoder:
    """Load a model by the importable name of its loader.

    Args:
        loader: ``package.module:function``. The function takes ``weights``, ``device`` and the
            options as keywords, and returns a :class:`DualEncoder`.
        weights: Checkpoint; None for the loader's default.
        device: Torch device such as ``cpu`` or ``cuda:0``.
        **options: Passed to the loader.

    Raises:
        LoaderError: The name is malformed or cannot be imported, the loader does not take an
            option, or it does not return a DualEncoder with all of :data:`REQUIRED_ATTRIBUTES`.
        WeightsNotFoundError: The checkpoint does not exist.
        WeightsError: The checkpoint cannot be used; raised by the loader.
    """
    module_name, colon, function_name = loader.partition(":")
    if not (module_name and colon and function_name):
        raise LoaderError(
            f"model loader {loader!r} is not an importable name; write package.module:function,"
            " such as robustness.models.phantom:load"
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise LoaderError(
            f"model loader {loader!r}: module {module_name!r} cannot be imported ({error});"
            " install its package or correct the name"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise LoaderError(
            f"model loader {loader!r}: module {module_name!r} has no function {function_name!r}"
        )
    try:
        inspect.signature(function).bind(weights=weights, device=device, **options)
    except TypeError as error:
        raise LoaderError(
            f"model loader {loader!r} cannot be called: {error}; it must take weights, device and"
            " its own options"
        ) from error
    try:
        encoder = function(weights=weights, device=device, **options)
    except FileNotFoundError as error:
        if weights is None or str(error.filename) != str(weights):
            raise
        raise WeightsNotFoundError(
            f"model loader {loader!r}: weights file {str(weights)!r} not found; name the checkpoint"
            " with --robustness-weights"
        ) from error
    if not isinstance(encoder, DualEncoder):
        raise LoaderError(
            f"model loader {loader!r} returned {type(encoder).__name__}, not a DualEncoder;"
            " subclass robustness.encoder.DualEncoder"
        )
    _check_attributes(loader, encoder)
    return encoder


def _check_attributes(loader: str, encoder: DualEncoder) -> None:
    """Raise LoaderError if a required attribute is missing or has another type."""
    for name, kind in REQUIRED_ATTRIBUTES.items():
        if isinstance(getattr(encoder, name, None), kind):
            continue
        problem = (
            f"whose {name} is {repr(getattr(encoder, name))[:60]}, not a {kind.__name__}"
            if hasattr(encoder, name)
            else f"without {name}"
        )
        raise LoaderError(
            f"model loader {loader!r} returned a {type(encoder).__name__} {problem}; set it as"
            " documented in robustness.encoder.DualEncoder"
        )
