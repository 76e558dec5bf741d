"""What is asked of a model itself, and once only where it is known to be the same.

The store's names are the model's own claim of what it is. What checks the claim, or depends on
the model's code, is kept under what the model was loaded from instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from robustness.embedded import Embedded
from robustness.embedding import Store
from robustness.errors import StoreError
from robustness.measure import CLEAN

if TYPE_CHECKING:
    from robustness.measure import Subject


Arrays = dict[str, NDArray[np.float64]]


def noted(subject: Subject, what: Mapping[str, Any], compute: Callable[[], Arrays]) -> Arrays:
    """What was found out about a model, found out anew unless it is known to be the same.

    Args:
        subject: The model on its evaluation set.
        what: What the answer depends on beside the model, as JSON values.
        compute: Finds it out.
    """
    if subject.identity is None:
        return compute()
    own = {"identity": subject.identity, "device": subject.encoder.device}
    # Beside the run's own entries, which are counted: whether a model is known is chance.
    return Store(subject.store.root).fetch({**what, **own}, compute)


def see_store(subject: Subject, chosen: Sequence[int], tolerance: float) -> None:
    """Embeds some images and reports anew and compares with what the store holds, if need be.

    Two models that claim one fingerprint share their entries: what is measured of the one
    would be the other.

    Args:
        subject: The model on its evaluation set.
        chosen: The indexes of the images; as many reports are embedded.
        tolerance: How far the entries of an embedding may move, if the run's precision can tell.

    Raises:
        StoreError: The store holds another model's embeddings.
    """
    stored, _ = subject.images(CLEAN)
    images, reports = stored[list(chosen)], subject.reports[: len(chosen)]
    held = hashlib.sha256(images.tobytes() + reports.tobytes()).hexdigest()

    def check() -> Arrays:
        _compare(subject, chosen, {"images": images, "reports": reports}, tolerance)
        return {"seen": np.ones(1)}

    what: dict[str, Any] = {"of": "freshness", "held": held, "precision": subject.precision}
    what |= {"evalset": subject.evalset.fingerprint, "chosen": list(chosen)}
    noted(subject, {**what, "texts": subject.matching.texts[: len(chosen)]}, check)


def _compare(
    subject: Subject,
    chosen: Sequence[int],
    held: Mapping[str, NDArray[np.float32]],
    tolerance: float,
) -> None:
    texts = subject.matching.texts[: len(chosen)]
    with TemporaryDirectory() as folder:
        fresh = Embedded(
            subject.encoder,
            subject.evalset.subset(chosen),
            texts,
            Store(Path(folder)),
            batch_size=subject.batch_size,
            precision=subject.precision,
        )
        found = {"images": fresh.images(CLEAN)[0], "reports": fresh.reports}
    # In 16 bits an embedding moves with the batch around it, by about what they can tell apart.
    tolerance = max(tolerance, torch.finfo(getattr(torch, subject.precision)).eps)
    for what, rows in held.items():
        apart = float(np.abs(found[what] - rows).max())
        if not apart <= tolerance:
            raise StoreError(
                f"store {subject.store.root} holds other embeddings of {what} than"
                f" {subject.encoder.name} makes, by {apart:.2g}: another model claims its"
                " fingerprint, or the store is stale; name another folder with --robustness-store",
                "store_stale",
            )
