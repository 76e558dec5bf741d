"""Conformance checks: requirements for every encoder, whatever it was trained for.

Each check takes a loaded encoder and raises :class:`BrokenPromiseError` with a one-line message.
The inputs are generated here, so no evaluation set is needed. The checks run in float32; those of
:data:`IN_ANY_PRECISION` also apply in 16 bits. To check a model::

    for check in CHECKS.values():
        check(encoder)
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustness._util.text import counted
from robustness.embedding import FLOAT32, embed_images, embed_reports
from robustness.encoder import DualEncoder

TOLERANCE = 1e-4
"""Maximum difference of an entry of an embedding between runs that should be equal."""

MIN_FINGERPRINT_LENGTH = 8
"""Minimum length of a fingerprint, in characters."""

WEIGHT_SCALE = 1.01
"""Factor that :func:`fingerprint` changes the weights by."""

SIZES = ((224, 224), (97, 131), (300, 211), (512, 512), (131, 97))
"""Height and width of the test images, in pixels."""

TEXTS = (
    "No acute cardiopulmonary process.",
    "",
    "Large right pleural effusion. The heart is enlarged. " * 40,
    "Épanchement pleural gauche modéré; œdème.",
    "1. Small left apical pneumothorax.\n2. Right chest tube in place.",
)
"""Test reports: short, empty, too long for most models, not ASCII, of two lines."""


class BrokenPromiseError(Exception):
    """An encoder violates the contract; the message gives the observed values."""


def images() -> list[NDArray[np.uint8]]:
    """Return smooth test images of all :data:`SIZES`, uint8 ``[height, width]``, all different.

    Example:
        >>> [image.shape for image in images()][:2]
        [(224, 224), (97, 131)]
    """
    rng = np.random.default_rng(0)
    pictures = []
    for height, width in SIZES:
        rows = np.linspace(0, rng.uniform(2, 9), height)[:, None]
        columns = np.linspace(0, rng.uniform(2, 9), width)[None]
        wave = np.sin(rows + rng.uniform(0, 6)) * np.cos(columns) + rng.normal(0, 0.1, (1, width))
        pictures.append(np.clip(127 + 90 * wave, 0, 255).astype(np.uint8))
    return pictures


Embed = Callable[[Sequence[int]], NDArray[np.float32]]
"""Embeds the test inputs with the given indexes: float32 ``[len(indexes), D]``."""


def _sides(encoder: DualEncoder, precision: str = FLOAT32) -> dict[str, tuple[int, Embed]]:
    """Return the number of test inputs and a function that embeds them, for images and reports."""
    pictures = images()
    settings: dict[str, Any] = {"batch_size": 64, "precision": precision}
    return {
        "images": (
            len(pictures),
            lambda indexes: embed_images(encoder, [pictures[i] for i in indexes], **settings),
        ),
        "reports": (
            len(TEXTS),
            lambda indexes: embed_reports(encoder, [TEXTS[i] for i in indexes], **settings),
        ),
    }


def shapes(encoder: DualEncoder, precision: str = FLOAT32) -> None:
    """Check that embeddings are float32 ``[N, embedding_dim]``, also for N = 1 and N = 0."""
    for kind, (n, embed) in _sides(encoder, precision).items():
        for indexes in (range(n), [0], []):
            embeddings = embed(indexes)
            expected = (len(indexes), encoder.embedding_dim)
            if embeddings.shape != expected or embeddings.dtype != np.float32:
                raise BrokenPromiseError(
                    f"embedding {counted(len(indexes), kind[:-1])} gives {embeddings.dtype}"
                    f" {list(embeddings.shape)}, not float32 {list(expected)}"
                )


def finite(encoder: DualEncoder, precision: str = FLOAT32) -> None:
    """Check that embeddings are finite, also of empty and long texts and all image sizes."""
    for kind, (n, embed) in _sides(encoder, precision).items():
        bad = np.flatnonzero(~np.isfinite(embed(range(n))).all(axis=1))
        if bad.size:
            raise BrokenPromiseError(f"{kind} {bad.tolist()} are embedded as NaN or infinite")


def unit_norm(encoder: DualEncoder) -> None:
    """Check that embeddings have unit L2 norm, unless the model overrides the cosine score."""
    if not encoder.scores_by_cosine:
        return
    for kind, (n, embed) in _sides(encoder).items():
        norms = np.linalg.norm(embed(range(n)).astype(np.float64), axis=1)
        if np.abs(norms - 1).max() > TOLERANCE:
            raise BrokenPromiseError(f"{kind} have norms {norms.round(4).tolist()}, not 1")


def distinct(encoder: DualEncoder) -> None:
    """Check that different inputs have different embeddings."""
    for kind, (n, embed) in _sides(encoder).items():
        embeddings = embed(range(n))
        for i in range(n):
            for j in range(i):
                if np.abs(embeddings[i] - embeddings[j]).max() <= TOLERANCE:
                    raise BrokenPromiseError(
                        f"{kind} {j} and {i} differ and have the same embedding"
                    )


def deterministic(encoder: DualEncoder, precision: str = FLOAT32) -> None:
    """Check that the same input has the same embedding, to the last bit."""
    for kind, (n, embed) in _sides(encoder, precision).items():
        # NaN breaks another promise, finite().
        if not np.array_equal(embed(range(n)), embed(range(n)), equal_nan=True):
            raise BrokenPromiseError(f"{kind} embedded twice differ; is the model in eval mode?")


def batch(encoder: DualEncoder) -> None:
    """Check that an embedding does not depend on its batch, and so not on padding."""
    for kind, (n, embed) in _sides(encoder).items():
        _require_close(
            kind,
            "alone and in a batch",
            np.concatenate([embed([i]) for i in range(n)]),
            embed(range(n)),
        )


def order(encoder: DualEncoder) -> None:
    """Check that an embedding does not depend on its position in the batch."""
    for kind, (n, embed) in _sides(encoder).items():
        backward = embed(range(n)[::-1])[::-1]
        _require_close(kind, "in two orders", backward, embed(range(n)))


def scores(encoder: DualEncoder) -> None:
    """Check that scores are float32 ``[images, reports]``, finite, and the same if tiled."""
    import torch

    pictures, texts = (
        torch.from_numpy(embed(range(n))).to(encoder.device)
        for n, embed in _sides(encoder).values()
    )
    with torch.inference_mode():
        whole = encoder.score(pictures, texts)
        tiles = torch.cat([encoder.score(pictures[i : i + 1], texts) for i in range(len(pictures))])
    expected = (len(pictures), len(texts))
    if tuple(whole.shape) != expected or whole.dtype != torch.float32:
        raise BrokenPromiseError(
            f"scores are {whole.dtype} {list(whole.shape)}, not torch.float32 {list(expected)}"
        )
    if not torch.isfinite(whole).all():
        raise BrokenPromiseError("scores are NaN or infinite")
    _require_close("scores", "whole and in tiles", tiles.cpu().numpy(), whole.cpu().numpy())


def on_device(encoder: DualEncoder) -> None:
    """Check that ``preprocess_on_device``, if offered, equals ``preprocess`` to one grey level.

    A grey level is 1/255 of the difference of white and black in the model's input.
    """
    if not encoder.on_device:
        return
    from robustness.embedding.padded import pad

    pictures = images()
    expected = encoder.preprocess(pictures)
    batch = pad(pictures)
    actual = encoder.preprocess_on_device(batch.images.to(encoder.device), batch.sizes)
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        raise BrokenPromiseError(
            f"images are preprocessed on the device to {actual.dtype} {list(actual.shape)}, by"
            f" preprocess to {expected.dtype} {list(expected.shape)}"
        )
    black, white = encoder.preprocess([np.full((224, 224), grey, np.uint8) for grey in (0, 255)])
    level = (white - black).abs().max().item() / 255
    difference = (actual - expected).abs().flatten(1).amax(1) / level
    if not difference.max() <= 1 + TOLERANCE:
        raise BrokenPromiseError(
            f"images preprocessed on the device are {difference.max():.3g} grey levels from those"
            f" of preprocess (number {int(difference.argmax())}); at most 1 is allowed"
        )


def described(encoder: DualEncoder) -> None:
    """Check the fingerprint, the text policy and the details of an encoder."""
    value = encoder.fingerprint
    if not (isinstance(value, str) and len(value) >= MIN_FINGERPRINT_LENGTH):
        raise BrokenPromiseError(
            f"fingerprint is {value!r}, not a hash of at least {MIN_FINGERPRINT_LENGTH} characters"
        )
    if not encoder.text_policy.sections or encoder.text_policy.max_tokens < 1:
        raise BrokenPromiseError(
            f"text_policy is {encoder.text_policy}; it needs a section and max_tokens of at least 1"
        )
    for key, value in encoder.details.items():
        if not (isinstance(key, str) and isinstance(value, str)):
            raise BrokenPromiseError(f"details have {key!r}: {value!r}; both must be strings")


def _require_close(
    kind: str, condition: str, actual: NDArray[np.float32], expected: NDArray[np.float32]
) -> None:
    """Raise BrokenPromiseError if rows differ by more than :data:`TOLERANCE`."""
    difference = np.abs(actual - expected).reshape(len(actual), -1).max(axis=1)
    if difference.max() > TOLERANCE:
        raise BrokenPromiseError(
            f"{kind} embedded {condition} differ by {difference.max():.2g} (number"
            f" {int(difference.argmax())}); at most {TOLERANCE:g} is allowed"
        )


CHECKS: dict[str, Callable[[DualEncoder], None]] = {
    check.__name__: check
    for check in (
        shapes,
        finite,
        unit_norm,
        distinct,
        deterministic,
        batch,
        order,
        scores,
        on_device,
        described,
    )
}
"""All checks of a loaded encoder, by name."""

IN_ANY_PRECISION: dict[str, Callable[[DualEncoder, str], None]] = {
    check.__name__: check for check in (shapes, finite, deterministic)
}
"""Checks that also apply in 16 bits; the others have a finer tolerance than 16 bits resolve."""


def fingerprint(load: Callable[[Path | None], DualEncoder], folder: Path) -> str:
    """Check that equal weights have equal fingerprints, and other weights another one.

    Args:
        load: Loads the encoder from its own checkpoint (None) or from another one.
        folder: Folder for a checkpoint with changed weights.

    Returns:
        Reason why the second half could not be checked; empty if it was.

    Raises:
        BrokenPromiseError: The fingerprint does not follow the weights.
    """
    first, again = load(None), load(None)
    if first.fingerprint != again.fingerprint:
        raise BrokenPromiseError("loaded twice, the same weights have two fingerprints")
    if first.checkpoint is None:
        return "the encoder has no checkpoint file, so its weights cannot be changed"
    changed = _write_changed(first.checkpoint, folder)
    if changed is None:
        return (
            f"{first.checkpoint.name} is neither a safetensors file nor a file of tensors, so its"
            " weights cannot be changed"
        )
    if load(changed).fingerprint == first.fingerprint:
        raise BrokenPromiseError("other weights have the same fingerprint")
    return ""


def _write_changed(checkpoint: Path, folder: Path) -> Path | None:
    """Write a copy of a checkpoint with all floating-point weights scaled.

    Args:
        checkpoint: safetensors, or a file of tensors that torch reads with
            ``weights_only=True``; nothing in it is executed.
        folder: Folder of the copy, which has the same name.

    Returns:
        The copy, or None if the file has another format.
    """
    import torch
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file, save_file

    copy = folder / checkpoint.name
    try:
        with safe_open(checkpoint, "pt") as file:
            metadata = file.metadata()
        save_file(_scaled(load_file(checkpoint)), copy, metadata)
    except (SafetensorError, OSError):
        try:
            content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError):
            return None
        torch.save(_scaled(content), copy)
    return copy


def _scaled(content: Any) -> Any:
    """Scale the floating-point tensors in nested dictionaries."""
    import torch

    if isinstance(content, torch.Tensor):
        return content * WEIGHT_SCALE if content.is_floating_point() else content
    if isinstance(content, dict):
        return {key: _scaled(value) for key, value in content.items()}
    return content
