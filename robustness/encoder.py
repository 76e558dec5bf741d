"""The interface every model implements, and the loader that finds one by name.

Heavy libraries are imported where they are used: this module is read at pytest's
collection, which must not import torch.
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


@dataclass(frozen=True, slots=True)
class TextPolicy:
    """Which text of a report a model reads; recorded in every result.

    Attributes:
        sections: The report sections, in the order they are joined by a space.
        max_tokens: How many tokens the model reads at most, its special tokens included.
        truncation: What happens beyond that, in a few words.
    """

    sections: tuple[str, ...]
    max_tokens: int
    truncation: str

    def text(self, report: Report) -> str:
        """The text of ``report`` under this policy; empty where the report has none."""
        return report.text(self.sections)


class DualEncoder(ABC):
    """Two encoders with one embedding space: radiographs in, reports in, vectors out.

    An embedding depends on its own input alone: not on the batch around it, its
    order or its padding. Implementations put their modules in eval mode and compute
    without gradients.

    Attributes:
        fingerprint: A hash of the weights and of everything else that shapes an
            embedding; two encoders with equal fingerprints embed alike.
        text_policy: Which text of a report the model reads.
        embedding_dim: D, the length of an embedding.
        device: Where the model runs, as torch names it.
        details: Facts for the result: the weights' SHA-256, the source, the licence.
        checkpoint: The file the weights were read from, where there is one.
        folder: The folder that holds all else the model was read from, where there is one.
        on_device: Whether :meth:`preprocess_on_device` is offered; False unless a model says so.
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
        """Turns decoded radiographs into the model's input.

        Args:
            images: uint8 ``[height, width]`` each, 0 black; sizes may differ.

        Returns:
            float32 ``[B, ...]`` on the model's device.
        """

    def preprocess_on_device(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """The same as :meth:`preprocess`, to within a grey level, without leaving the device.

        Optional: a model that offers it sets ``on_device``, and is then given its images so on
        a GPU, where they are occluded too. All others are given arrays everywhere.

        Args:
            images: uint8 ``[B, H, W]``, 0 black, on the model's device. Image ``i`` lies at the
                top left of ``images[i]``; what is beyond it is of no account and may be anything.
            sizes: Height and width of each image.

        Returns:
            float32 ``[B, ...]`` on the model's device.
        """
        raise NotImplementedError

    @abstractmethod
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Embeds preprocessed images: float32 ``[B, D]``, rows of unit L2 norm."""

    @abstractmethod
    def encode_reports(self, texts: Sequence[str]) -> Tensor:
        """Embeds report texts: float32 ``[B, D]``, rows of unit L2 norm."""

    def computing_in(self, precision: str) -> AbstractContextManager[object]:
        """Where a run computes in 16 bits, what both ``encode_*`` are called within.

        Autocast, unless a model has a better way. What they return may be of 16 bits here; it is
        brought back to float32 and, where it is compared by cosine, to unit norm.

        Args:
            precision: ``bfloat16`` or ``float16``.
        """
        import torch

        return torch.autocast(torch.device(self.device).type, dtype=getattr(torch, precision))

    def score(self, images: Tensor, reports: Tensor) -> Tensor:
        """Scores every image with every report; the cosine, unless a model overrides this.

        A model that scores otherwise, by cross attention say, returns from ``encode_*``
        whatever its scores are computed from, flattened to rows; those rows need no unit
        norm then.

        Args:
            images: float32 ``[B, D]``, from :meth:`encode_images`.
            reports: float32 ``[M, D]``, from :meth:`encode_reports`.

        Returns:
            float32 ``[B, M]``; higher is a better match.
        """
        return images @ reports.T

    @property
    def name(self) -> str:
        """The name of the model's class, for errors."""
        return type(self).__name__

    @property
    def scores_by_cosine(self) -> bool:
        """Whether :meth:`score` is the cosine that this class defines."""
        return type(self).score is DualEncoder.score


STATED = {
    "fingerprint": str,
    "text_policy": TextPolicy,
    "embedding_dim": int,
    "device": str,
    "details": dict,
}
"""What every encoder states of itself, by the name of the attribute."""


def load(
    loader: str,
    *,
    weights: str | Path | None = None,
    device: str = "cpu",
    **options: Any,
) -> DualEncoder:
    """Loads a model by the importable name of its loader.

    Args:
        loader: ``package.module:function``; the function takes ``weights``, ``device``
            and the options, and returns a :class:`DualEncoder`.
        weights: The checkpoint, where it is not the loader's default.
        device: A torch device such as ``cpu`` or ``cuda:0``.
        **options: Passed on to the loader.

    Raises:
        LoaderError: The name is malformed or nothing importable, or the loader takes no
            such option or returns something else than a DualEncoder that states all
            of :data:`STATED`.
        WeightsNotFoundError: The checkpoint is not there.
        WeightsError: The checkpoint cannot be used; raised by the loader.
    """
    module_name, colon, function_name = loader.partition(":")
    if not (module_name and colon and function_name):
        raise LoaderError(
            f"model loader {loader!r} is no importable name; write package.module:function,"
            " such as models.phantom:load"
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise LoaderError(
            f"model loader {loader!r}: module {module_name!r} cannot be imported ({error});"
            " install the package that holds it, or correct the name"
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
            f"model loader {loader!r} does not take what it is given: {error}; it takes weights,"
            " device and the options of its own"
        ) from error
    try:
        encoder = function(weights=weights, device=device, **options)
    except FileNotFoundError as error:
        if weights is None or str(error.filename) != str(weights):
            raise
        raise WeightsNotFoundError(
            f"model loader {loader!r}: weights {str(weights)!r} are not there; name the checkpoint"
            " with --robustness-weights"
        ) from error
    if not isinstance(encoder, DualEncoder):
        raise LoaderError(
            f"model loader {loader!r} returned {type(encoder).__name__}, not a DualEncoder;"
            " subclass robustness.encoder.DualEncoder"
        )
    _see_stated(loader, encoder)
    return encoder


def _see_stated(loader: str, encoder: DualEncoder) -> None:
    """Sees that an encoder states of itself what results and the store rest on."""
    for name, kind in STATED.items():
        if isinstance(getattr(encoder, name, None), kind):
            continue
        wrong = (
            f"whose {name} is {repr(getattr(encoder, name))[:60]}, no {kind.__name__}"
            if hasattr(encoder, name)
            else f"without {name}"
        )
        raise LoaderError(
            f"model loader {loader!r} returned a {type(encoder).__name__} {wrong}; set it, as"
            " robustness.encoder.DualEncoder says"
        )
