"""Whether what the store holds is what the model makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from robustness.embedding import embed_images, embed_reports
from robustness.errors import StoreError
from robustness.measure import CLEAN

if TYPE_CHECKING:
    from robustness.measure import Subject


def see_store(subject: Subject, chosen: Sequence[int], tolerance: float) -> None:
    """Embeds some images and reports anew and compares with what the store holds.

    Two models that claim one fingerprint share their entries: what is measured of the one
    would be the other.

    Args:
        subject: The model on its evaluation set.
        chosen: The indexes of the images; as many reports are embedded.
        tolerance: How far the entries of an embedding may move.

    Raises:
        StoreError: The store holds another model's embeddings.
    """
    stored, _ = subject.images(CLEAN)
    pairs = [subject.evalset.pairs[i] for i in chosen]
    texts = subject.matching.texts[: len(chosen)]
    images = embed_images(subject.encoder, [subject.evalset.decode(pair) for pair in pairs])
    reports = embed_reports(subject.encoder, texts)
    for what, found, held in (
        ("images", images, stored[list(chosen)]),
        ("reports", reports, subject.reports[: len(texts)]),
    ):
        apart = float(np.abs(found - held).max())
        if not apart <= tolerance:
            raise StoreError(
                f"store {subject.store.root} holds other embeddings of {what} than"
                f" {type(subject.encoder).__name__} makes, by {apart:.2g}: another model claims its"
                " fingerprint, or the store is stale; name another folder with --robustness-store",
                "store_stale",
            )
