"""What every encoder must do, whatever it was trained for: one check a promise.

A check takes a loaded encoder and raises :class:`BrokenPromiseError` with one line that
says what it saw. Inputs are made here, so no evaluation set is needed. What a check needs
of embeddings holds in float32; in 16 bits those of :data:`IN_ANY_PRECISION` can be held too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustness.embedding import FLOAT32, embed_images, embed_reports
from robustness.encoder import DualEncoder
from robustness.wording import counted

TOLERANCE = 1e-4
"""How far an entry of an embedding may move between runs that should be equal."""

SIZES = ((224, 224), (97, 131), (300, 211), (512, 512), (131, 97))

TEXTS = (
    "No acute cardiopulmonary process.",
    "",
    "Large right pleural effusion. The heart is enlarged. " * 40,
    "Épanchement pleural gauche modéré; œdème.",
    "1. Small left apical pneumothorax.\n2. Right chest tube in place.",
)


class BrokenPromiseError(Exception):
    """An encoder does not do what the contract says; the message says what was seen."""


def images() -> list[NDArray[np.uint8]]:
    """Smooth greyscale pictures of several sizes, uint8 ``[height, width]``, no two alike."""
    rng = np.random.default_rng(0)
    pictures = []
    for height, width in SIZES:
        rows = np.linspace(0, rng.uniform(2, 9), height)[:, None]
        columns = np.linspace(0, rng.uniform(2, 9), width)[None]
        wave = np.sin(rows + rng.uniform(0, 6)) * np.cos(columns) + rng.normal(0, 0.1, (1, width))
        pictures.append(np.clip(127 + 90 * wave, 0, 255).astype(np.uint8))
    return pictures


Embed = Callable[[Sequence[int]], NDArray[np.float32]]


def _sides(encoder: DualEncoder, precision: str = FLOAT32) -> dict[str, tuple[int, Embed]]:
    """For images and for reports: how many there are, and the embeddings of some of them."""
    pictures = images()
    asked: dict[str, Any] = {"batch_size": 64, "precision": precision}
    return {
        "images": (
            len(pictures),
            lambda chosen: embed_images(encoder, [pictures[i] for i in chosen], **asked),
        ),
        "reports": (
            len(TEXTS),
            lambda chosen: embed_reports(encoder, [TEXTS[i] for i in chosen], **asked),
        ),
    }


def shapes(encoder: DualEncoder, precision: str = FLOAT32) -> None:
    """Embeddings are float32 ``[N, embedding_dim]``, none for none."""
    for what, (n, embed) in _sides(encoder, precision).items():
        for chosen in (range(n), [0], []):
            found = embed(chosen)
            expected = (len(chosen), encoder.embedding_dim)
            if found.shape != expected or found.dtype != np.float32:
                raise BrokenPromiseError(
                    f"embedding {counted(len(chosen), what[:-1])} gives {found.dtype}"
                    f" {list(found.shape)}, not float32 {list(expected)}"
                )


def finite(encoder: DualEncoder, precision: str = FLOAT32) -> None:
    """Embeddings are numbers, of empty and of overlong texts and of any image size too."""
    for what, (n, embed) in _sides(encoder, precision).items():
        bad = np.flatnonzero(~np.isfinite(embed(range(n))).all(axis=1))
        if bad.size:
            raise BrokenPromiseError(f"{what} {bad.tolist()} are embedded as NaN or infinite")


def unit_norm(encoder: DualEncoder) -> None:
    """Embeddings that are compared by cosine have unit norm."""
    if not encoder.scores_by_cosine:
        return
    for what, (n, embed) in _sides(encoder).items():
        norms = np.linalg.norm(embed(range(n)).astype(np.float64), axis=1)
        if np.abs(norms - 1).max() > TOLERANCE:
            raise BrokenPromiseError(f"{what} have norms {norms.round(4).tolist()}, not 1")


def distinct(encoder: DualEncoder) -> None:
    """Different inputs have different embeddings."""
    for what, (n, embed) in _sides(encoder).items():
        found = embed(range(n))
        for i in range(n):
            for j in range(i):
                if np.abs(found[i] - found[j]).max() <= TOLERANCE:
                    raise BrokenPromiseError(f"{what} {j} and {i} differ and are embedded alike")


def deterministic(encoder: DualEncoder, precision: str = FLOAT32) -> None:
    """The same input has the same embedding, to the last bit."""
    for what, (n, embed) in _sides(encoder, precision).items():
        # What is no number breaks another promise, and is the same each time.
        if not np.array_equal(embed(range(n)), embed(range(n)), equal_nan=True):
            raise BrokenPromiseError(f"{what} embedded twice differ; is the model in eval mode?")


def batch(encoder: DualEncoder) -> None:
    """An embedding does not depend on the batch around it, so neither on padding."""
    for what, (n, embed) in _sides(encoder).items():
        _require_close(
            what,
            "alone and in a batch",
            np.concatenate([embed([i]) for i in range(n)]),
            embed(range(n)),
        )


def order(encoder: DualEncoder) -> None:
    """An embedding does not depend on its place in the batch."""
    for what, (n, embed) in _sides(encoder).items():
        turned = list(range(n))[::-1]
        _require_close(what, "in two orders", embed(turned)[::-1], embed(range(n)))


def scores(encoder: DualEncoder) -> None:
    """Scores are a finite float32 matrix, of images by reports, that tiles do not change."""
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
    """Device preprocessing, where a model offers it, gives the pixels of ``preprocess``.

    To within a grey level: what white and black differ by in the model's input, over 255.
    """
    if not encoder.on_device:
        return
    from robustness.embedding.canvas import lay

    pictures = images()
    expected = encoder.preprocess(pictures)
    canvas = lay(pictures)
    found = encoder.preprocess_on_device(canvas.images.to(encoder.device), canvas.sizes)
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise BrokenPromiseError(
            f"images are preprocessed on the device to {found.dtype} {list(found.shape)}, by"
            f" preprocess to {expected.dtype} {list(expected.shape)}"
        )
    black, white = encoder.preprocess([np.full((224, 224), grey, np.uint8) for grey in (0, 255)])
    level = (white - black).abs().max().item() / 255
    apart = (found - expected).abs().flatten(1).amax(1) / level
    if not apart.max() <= 1 + TOLERANCE:
        raise BrokenPromiseError(
            f"images preprocessed on the device are {apart.max():.3g} grey levels from those of"
            f" preprocess (number {int(apart.argmax())}); at most 1 is allowed"
        )


def described(encoder: DualEncoder) -> None:
    """The encoder says what it is: fingerprint, text policy, details, as plain values."""
    if not (isinstance(encoder.fingerprint, str) and len(encoder.fingerprint) >= 8):  # noqa: PLR2004
        raise BrokenPromiseError(f"fingerprint is {encoder.fingerprint!r}, no hash as text")
    if not encoder.text_policy.sections or encoder.text_policy.max_tokens < 1:
        raise BrokenPromiseError(f"text_policy is {encoder.text_policy}; it names what is read")
    for key, value in encoder.details.items():
        if not (isinstance(key, str) and isinstance(value, str)):
            raise BrokenPromiseError(f"details hold {key!r}: {value!r}; both are text")


def _require_close(
    what: str, how: str, found: NDArray[np.float32], expected: NDArray[np.float32]
) -> None:
    apart = np.abs(found - expected).reshape(len(found), -1).max(axis=1)
    if apart.max() > TOLERANCE:
        raise BrokenPromiseError(
            f"{what} embedded {how} differ by {apart.max():.2g} (number {int(apart.argmax())});"
            f" at most {TOLERANCE:g} is allowed"
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
"""Every promise that an encoder can be held to by itself, by name."""

IN_ANY_PRECISION: dict[str, Callable[[DualEncoder, str], None]] = {
    check.__name__: check for check in (shapes, finite, deterministic)
}
"""Those that 16 bits leave room for: no tolerance is finer than what 16 bits can tell apart."""


def fingerprint(load: Callable[[Path | None], DualEncoder], folder: Path) -> str:
    """The fingerprint is the same for the same weights and another one for others.

    Args:
        load: Loads the encoder, from its own checkpoint or from another.
        folder: Where a changed checkpoint may be written.

    Returns:
        Why the second half could not be seen; empty where it was.

    Raises:
        BrokenPromiseError: The fingerprint does not follow the weights.
    """
    from robustness._perturb import perturbed

    first, again = load(None), load(None)
    if first.fingerprint != again.fingerprint:
        raise BrokenPromiseError("loaded twice, the same weights have two fingerprints")
    if first.checkpoint is None:
        return "the encoder names no checkpoint file, so its weights cannot be changed"
    changed = perturbed(first.checkpoint, folder)
    if changed is None:
        return f"{first.checkpoint.name} has a form that is not rewritten here"
    if load(changed).fingerprint == first.fingerprint:
        raise BrokenPromiseError("other weights have the same fingerprint")
    return ""
