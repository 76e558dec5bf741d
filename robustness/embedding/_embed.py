"""From images and reports to embeddings, batch by batch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from robustness._util.profile import TEXTS, Profile
from robustness._util.progress import Stream, progress
from robustness._util.text import counted
from robustness.embedding._precision import FLOAT32, cast, check_precision, restored
from robustness.errors import EmbeddingError
from robustness.evalset import Image, read_image

if TYPE_CHECKING:
    from torch import Tensor

    from robustness.encoder import DualEncoder

BATCH_SIZE = 64

NORM_TOLERANCE = 1e-4
"""How far the norm of an embedding that is compared by cosine may be from 1, in float32."""

T = TypeVar("T")


def embed_images(
    encoder: DualEncoder,
    images: Iterable[str | os.PathLike[str] | Image],
    *,
    batch_size: int = BATCH_SIZE,
    precision: str = FLOAT32,
) -> NDArray[np.float32]:
    """Embeds radiographs.

    Args:
        encoder: The model.
        images: File paths, or uint8 arrays ``[height, width]``; taken at their native
            size, one batch at a time, so an iterator need not fit in memory.
        batch_size: Images a forward pass.
        precision: What forward passes are computed in: ``float32``, ``bfloat16``, ``float16``.

    Returns:
        float32 ``[N, D]``, on the host.

    Raises:
        EvaluationSetError: A file cannot be decoded.
        EmbeddingError: The model returned a wrong shape or type, or rows of another norm than
            1 that are compared by cosine.
        UsageError: There is no such precision, or the device does not compute in it.
    """
    # Imported here: this module is read where torch must not be.
    from robustness.embedding.canvas import pixels_of

    check_precision(precision, encoder.device)
    decoded = (
        image if isinstance(image, np.ndarray) else read_image(Path(image)) for image in images
    )
    return stacked(
        encoder,
        [
            encode_images(encoder, pixels_of(encoder, batch), len(batch), precision)
            for batch in _batches(decoded, batch_size)
        ],
    )


def encode_images(
    encoder: DualEncoder, pixels: Tensor, n: int, precision: str
) -> NDArray[np.float32]:
    """Embeds a batch of preprocessed images.

    Args:
        encoder: The model.
        pixels: What its preprocessing returned.
        n: Of how many images.
        precision: What the forward pass is computed in.

    Returns:
        float32 ``[n, D]``, on the host.

    Raises:
        EmbeddingError: The model returned a wrong shape or type, or rows of another norm than
            1 that are compared by cosine.
    """
    with cast(precision, encoder):
        output = encoder.encode_images(pixels)
    return _checked(encoder, output, n, "images", precision)


def embed_reports(
    encoder: DualEncoder,
    texts: Iterable[str],
    *,
    batch_size: int = BATCH_SIZE,
    precision: str = FLOAT32,
    profile: Profile | None = None,
    stream: Stream | None = None,
) -> NDArray[np.float32]:
    """Embeds report texts.

    Args:
        encoder: The model.
        texts: What the model is to read of each report.
        batch_size: Texts a forward pass.
        precision: What forward passes are computed in: ``float32``, ``bfloat16``, ``float16``.
        profile: Where the time is counted.
        stream: Where progress is shown, if it is a terminal.

    Returns:
        float32 ``[N, D]``, on the host.

    Raises:
        EmbeddingError: The model returned a wrong shape or type, or rows of another norm than
            1 that are compared by cosine.
        UsageError: There is no such precision, or the device does not compute in it.
    """
    check_precision(precision, encoder.device)
    texts = list(texts)
    profile = Profile() if profile is None else profile
    parts = []
    with progress(len(texts), "embedding reports", "texts", stream) as advance:
        for batch in _batches(texts, batch_size):
            with profile.phase(TEXTS, len(batch)):
                with cast(precision, encoder):
                    output = encoder.encode_reports(batch)
                parts.append(_checked(encoder, output, len(batch), "reports", precision))
            advance(len(batch))
    return stacked(encoder, parts)


def _batches(items: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _checked(
    encoder: DualEncoder, output: Tensor, n: int, what: str, precision: str
) -> NDArray[np.float32]:
    """What a model returned, if it is as the contract says, in float32 and on the host."""
    from torch import Tensor

    expected = (n, encoder.embedding_dim)
    if not isinstance(output, Tensor):
        raise EmbeddingError(
            f"{encoder.name} embedded {counted(n, what[:-1])} as a {type(output).__name__};"
            f" the contract is torch.float32 of shape {list(expected)}"
        )
    rows = restored(encoder, output, precision)
    if tuple(rows.shape) != expected or str(rows.dtype) != "torch.float32":
        raise EmbeddingError(
            f"{encoder.name} embedded {counted(n, what[:-1])} as {rows.dtype} of shape"
            f" {list(rows.shape)}; the contract is torch.float32 of shape {list(expected)}"
        )
    if encoder.scores_by_cosine:
        # Restored rows have unit norm whatever the model returned.
        _see_norms(encoder, output, what, precision)
    # A copy: a model may write its next batch where it wrote this one.
    array: NDArray[np.float32] = rows.detach().to("cpu", copy=True).numpy()
    return array


def _see_norms(encoder: DualEncoder, output: Tensor, what: str, precision: str) -> None:
    """Products of rows are their cosines only where the rows have unit norm."""
    import torch

    # A row that is normalised in 16 bits has its entries rounded, and its norm before them,
    # each by up to half of eps; as much again is left for sums and roots.
    eps = torch.finfo(getattr(torch, precision)).eps
    tolerance = max(NORM_TOLERANCE, 2 * eps)
    norms = torch.linalg.vector_norm(output.detach().float(), dim=-1)
    # Normalised, a row of zeros stays one; its cosines are 0 by any convention.
    off = ~((norms - 1).abs() <= tolerance) & (norms != 0)
    if off.any():
        # What is no number has no norm, and a reason of its own where it is used.
        off = off & output.isfinite().all(dim=-1)
    if off.any():
        raise EmbeddingError(
            f"{encoder.name} embeds {what} with norm {norms[off][0].item():.6g} where their"
            f" cosine is taken, which needs norm 1 (within {tolerance:.2g}); normalise the rows"
            f" in encode_{what}"
        )


def stacked(encoder: DualEncoder, parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The batches' embeddings, one after another: float32 ``[N, D]``, of none too."""
    if not parts:
        return np.zeros((0, encoder.embedding_dim), dtype=np.float32)
    return np.concatenate(parts)
