"""Embed images and reports, batch by batch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from robustness._util.text import counted
from robustness.embedding._precision import FLOAT32, check_precision, computing_in, restored
from robustness.errors import EmbeddingError
from robustness.evalset import Image, read_image

if TYPE_CHECKING:
    from torch import Tensor

    from robustness.encoder import DualEncoder

BATCH_SIZE = 64
"""Default number of images or texts per forward pass."""

MAX_NORM_ERROR = 1e-4
"""Maximum distance from 1 of an embedding's norm, in float32."""

T = TypeVar("T")


def embed_images(
    encoder: DualEncoder,
    images: Iterable[str | os.PathLike[str] | Image],
    *,
    batch_size: int = BATCH_SIZE,
    precision: str = FLOAT32,
) -> NDArray[np.float32]:
    """Embed images.

    Args:
        encoder: The model.
        images: File paths, or uint8 arrays ``[height, width]`` at their native size. One batch
            at a time is read, so an iterator need not fit in memory.
        batch_size: Images per forward pass.
        precision: One of :data:`robustness.embedding.PRECISIONS`, used in forward passes.

    Returns:
        float32 ``[N, D]``, on the host.

    Raises:
        EvaluationSetError: A file cannot be decoded.
        EmbeddingError: The model returned a wrong shape or type, or scores by cosine and
            returned rows that do not have unit norm.
        UsageError: The precision is invalid, or the device does not support it.

    Example:
        >>> from robustness import encoder, evalset
        >>> model, pairs = encoder.load("robustness.models.phantom:load"), evalset.load("phantom:2")
        >>> images = [pairs.decode(pair) for pair in pairs.pairs]
        >>> embed_images(model, images).shape == (2, model.embedding_dim)
        True
    """
    # Imported here: this module must not import torch.
    from robustness.embedding.padded import preprocess

    check_precision(precision, encoder.device)
    decoded = (
        image if isinstance(image, np.ndarray) else read_image(Path(image)) for image in images
    )
    rows = [
        encode_images(encoder, preprocess(encoder, batch), len(batch), precision)
        for batch in batches(decoded, batch_size)
    ]
    return stacked(encoder, rows)


def embed_reports(
    encoder: DualEncoder,
    texts: Iterable[str],
    *,
    batch_size: int = BATCH_SIZE,
    precision: str = FLOAT32,
) -> NDArray[np.float32]:
    """Embed report texts.

    Args:
        encoder: The model.
        texts: The text of each report, such as ``encoder.text_policy.text(report)``.
        batch_size: Texts per forward pass.
        precision: One of :data:`robustness.embedding.PRECISIONS`, used in forward passes.

    Returns:
        float32 ``[N, D]``, on the host.

    Raises:
        EmbeddingError: The model returned a wrong shape or type, or scores by cosine and
            returned rows that do not have unit norm.
        UsageError: The precision is invalid, or the device does not support it.

    Example:
        >>> from robustness import encoder, evalset
        >>> model, pairs = encoder.load("robustness.models.phantom:load"), evalset.load("phantom:2")
        >>> texts = [model.text_policy.text(pair.report) for pair in pairs.pairs]
        >>> embed_reports(model, texts).shape == (2, model.embedding_dim)
        True
    """
    check_precision(precision, encoder.device)
    rows = [encode_reports(encoder, batch, precision) for batch in batches(texts, batch_size)]
    return stacked(encoder, rows)


def encode_images(
    encoder: DualEncoder, pixels: Tensor, n: int, precision: str
) -> NDArray[np.float32]:
    """Embed a batch of ``n`` preprocessed images; see :func:`embed_images`."""
    with computing_in(precision, encoder):
        output = encoder.encode_images(pixels)
    return _checked(encoder, output, n, "images", precision)


def encode_reports(
    encoder: DualEncoder, texts: Sequence[str], precision: str
) -> NDArray[np.float32]:
    """Embed a batch of texts; see :func:`embed_reports`."""
    with computing_in(precision, encoder):
        output = encoder.encode_reports(texts)
    return _checked(encoder, output, len(texts), "reports", precision)


def batches(items: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    """Yield items in lists of a size; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def stacked(encoder: DualEncoder, rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the embeddings of several batches, possibly none, as float32 ``[N, D]``."""
    if not rows:
        return np.zeros((0, encoder.embedding_dim), dtype=np.float32)
    return np.concatenate(rows)


def _checked(
    encoder: DualEncoder, output: Tensor, n: int, kind: str, precision: str
) -> NDArray[np.float32]:
    """Return a model's output as float32 on the host; raise if it violates the contract."""
    from torch import Tensor

    contract = f"the contract is torch.float32 of shape {[n, encoder.embedding_dim]}"
    start = f"{encoder.name} embedded {counted(n, kind[:-1])} as"
    if not isinstance(output, Tensor):
        raise EmbeddingError(f"{start} a {type(output).__name__}; {contract}")
    rows = restored(encoder, output, precision)
    if tuple(rows.shape) != (n, encoder.embedding_dim) or str(rows.dtype) != "torch.float32":
        raise EmbeddingError(f"{start} {rows.dtype} of shape {list(rows.shape)}; {contract}")
    if encoder.scores_by_cosine:
        # Not of the restored rows, whose norm is 1 in any case.
        _check_norms(encoder, output, kind, precision)
    # A copy: the model may reuse its output buffer.
    array: NDArray[np.float32] = rows.detach().to("cpu", copy=True).numpy()
    return array


def _check_norms(encoder: DualEncoder, output: Tensor, kind: str, precision: str) -> None:
    """Raise if a row does not have unit norm, so that products would not be cosines."""
    import torch

    # Normalising in 16 bits rounds the norm and then each entry by up to eps / 2; the same
    # amount again allows for sums and roots.
    eps = torch.finfo(getattr(torch, precision)).eps
    tolerance = max(MAX_NORM_ERROR, 2 * eps)
    norms = torch.linalg.vector_norm(output.detach().float(), dim=-1)
    # A row of zeros cannot be normalised; its cosines are 0 by convention.
    wrong = ~((norms - 1).abs() <= tolerance) & (norms != 0)
    if wrong.any():
        # NaN and infinity have their own error, raised when the rows are used.
        wrong &= output.isfinite().all(dim=-1)
    if wrong.any():
        raise EmbeddingError(
            f"{encoder.name} embeds {kind} with norm {norms[wrong][0].item():.6g}, but scores by"
            f" cosine, which needs norm 1 (within {tolerance:.2g}); normalise the rows in"
            f" encode_{kind}"
        )
