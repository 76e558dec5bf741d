"""From images and reports to embeddings, batch by batch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from robustness.errors import EmbeddingError
from robustness.evalset import Image, read_image

if TYPE_CHECKING:
    from torch import Tensor

    from robustness.encoder import DualEncoder

BATCH_SIZE = 64

T = TypeVar("T")


def embed_images(
    encoder: DualEncoder,
    images: Iterable[str | os.PathLike[str] | Image],
    *,
    batch_size: int = BATCH_SIZE,
) -> NDArray[np.float32]:
    """Embeds radiographs.

    Args:
        encoder: The model.
        images: File paths, or uint8 arrays ``[height, width]``; taken at their native
            size, one batch at a time, so an iterator need not fit in memory.
        batch_size: Images a forward pass.

    Returns:
        float32 ``[N, D]``, on the host.

    Raises:
        EvaluationSetError: A file cannot be decoded.
        EmbeddingError: The model returned a wrong shape or type.
    """
    decoded = (
        image if isinstance(image, np.ndarray) else read_image(Path(image)) for image in images
    )
    batches = (
        _checked(encoder, encoder.encode_images(encoder.preprocess(batch)), len(batch), "images")
        for batch in _batches(decoded, batch_size)
    )
    return _stacked(encoder, batches)


def embed_reports(
    encoder: DualEncoder, texts: Iterable[str], *, batch_size: int = BATCH_SIZE
) -> NDArray[np.float32]:
    """Embeds report texts.

    Args:
        encoder: The model.
        texts: What the model is to read of each report.
        batch_size: Texts a forward pass.

    Returns:
        float32 ``[N, D]``, on the host.

    Raises:
        EmbeddingError: The model returned a wrong shape or type.
    """
    batches = (
        _checked(encoder, encoder.encode_reports(batch), len(batch), "reports")
        for batch in _batches(texts, batch_size)
    )
    return _stacked(encoder, batches)


def _batches(items: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _checked(encoder: DualEncoder, output: Tensor, n: int, what: str) -> NDArray[np.float32]:
    expected = (n, encoder.embedding_dim)
    if tuple(output.shape) != expected or str(output.dtype) != "torch.float32":
        raise EmbeddingError(
            f"{type(encoder).__name__} embedded {n} {what} as {output.dtype} of shape"
            f" {list(output.shape)}; the contract is torch.float32 of shape {list(expected)}"
        )
    array: NDArray[np.float32] = output.detach().cpu().numpy()
    return array


def _stacked(encoder: DualEncoder, batches: Iterator[NDArray[np.float32]]) -> NDArray[np.float32]:
    parts = list(batches)
    if not parts:
        return np.zeros((0, encoder.embedding_dim), dtype=np.float32)
    return np.concatenate(parts)
