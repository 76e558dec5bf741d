"""Store audit: check that stored embeddings still match the model, and cache the outcome.

The store's keys contain the fingerprint that a model reports. The audit does not rely on it: its
outcome is stored under the identity of the model (:func:`robustness.model_cache.load_cached`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from robustness._util.profile import Profile
from robustness.embedding import Store
from robustness.embedding.dataset import Embeddings
from robustness.errors import Code, StoreError
from robustness.perturbation.occlusion import CLEAN, Occlusion

if TYPE_CHECKING:
    from robustness.run.subject import Subject

Arrays = dict[str, NDArray[np.float64]]


def cached_check(
    subject: Subject, inputs: Mapping[str, Any], compute: Callable[[], Arrays]
) -> Arrays:
    """Return the outcome of a check of a model; compute it if it is not stored.

    Args:
        subject: The model on its evaluation set. Without an identity nothing is stored.
        inputs: All that the outcome depends on besides the model, as JSON values.
        compute: Runs the check.
    """
    # A separate instance: the entries of the run's own are counted.
    store = Store(subject.settings.store.root)

    def key(identity: str) -> dict[str, Any]:
        return {**inputs, "identity": identity, "device": subject.encoder.device}

    identity = subject.identity()
    stored = None if identity is None else store.get(key(identity))
    if stored is not None:
        return stored
    arrays = compute()
    # The identity changes if the model imported more modules meanwhile.
    identity = subject.identity()
    return arrays if identity is None else store.fetch(key(identity), lambda: arrays)


@dataclass(frozen=True, slots=True)
class _Part:
    """Stored embeddings, ``[len(sample), D]``: of images under an occlusion, or of reports."""

    kind: str
    occlusion: Occlusion
    sample: tuple[int, ...]
    rows: NDArray[np.float32]


def check_store(
    subject: Subject,
    sample: Sequence[int],
    tolerance: float,
    occlusions: Sequence[Occlusion] = (),
) -> None:
    """Embed a sample of images and reports again and compare it with the store.

    This detects two models that report the same fingerprint and so share their entries, and a
    model whose output depends on batches that it embedded before.

    Args:
        subject: The model on its evaluation set.
        sample: Indexes of images; the same number of reports is embedded.
        tolerance: Maximum difference of an entry of an embedding (raised to the resolution of
            the run's precision).
        occlusions: Measured occlusions besides the clean images. For each one in the store, one
            image of the sample is embedded, in turn.

    Raises:
        StoreError: The stored embeddings differ from those of the model.
    """
    embeddings = subject.embeddings
    clean, _ = embeddings.images(CLEAN)
    parts = [_Part("images", CLEAN, tuple(sample), clean[list(sample)])]
    for number, occlusion in enumerate(occlusions):
        stored = embeddings.stored(occlusion)
        if stored is not None:
            index = sample[number % len(sample)]
            parts.append(_Part("images", occlusion, (index,), stored[[index]]))
    parts.append(_Part("reports", CLEAN, tuple(sample), embeddings.reports[: len(sample)]))

    def check() -> Arrays:
        for part in parts:
            _compare(subject, part, tolerance)
        return {"matches": np.ones(1)}

    inputs = {
        "of": "store audit",
        "stored": hashlib.sha256(b"".join(part.rows.tobytes() for part in parts)).hexdigest(),
        "precision": subject.settings.precision,
        "evalset": subject.evalset.fingerprint,
        "sample": list(sample),
        "occlusions": [str(part.occlusion) for part in parts],
        "texts": subject.matching.texts[: len(sample)],
    }
    cached_check(subject, inputs, check)


def _compare(subject: Subject, part: _Part, tolerance: float) -> None:
    """Raise StoreError if the model's embeddings differ from the stored ones."""
    settings = subject.settings
    # In 16 bits an embedding changes with its batch, by about the resolution of the type.
    tolerance = max(tolerance, torch.finfo(getattr(torch, settings.precision)).eps)
    with TemporaryDirectory() as folder:
        fresh = Embeddings(
            subject.encoder,
            subject.evalset.subset(part.sample),
            subject.matching.texts[: len(part.sample)],
            replace(settings, store=Store(Path(folder)), profile=Profile(), stream=None),
        )
        rows = fresh.images(part.occlusion)[0] if part.kind == "images" else fresh.reports
    difference = float(np.abs(rows - part.rows).max())
    if not difference <= tolerance:
        condition = f" under {part.occlusion}" if part.occlusion.level > 0 else ""
        raise StoreError(
            f"store {settings.store.root}: embeddings of {part.kind}{condition} do not match"
            f" {subject.encoder.name}, they differ by {difference:.2g}: fingerprint collision"
            " (another model reports the same one), stale store, or outputs that depend on"
            " earlier batches; use another folder with --robustness-store",
            Code.STORE_STALE,
        )
