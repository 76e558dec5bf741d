"""What is asked of a model itself, and once only where it is known to be the same.

The store's names are the model's own claim of what it is. What checks the claim, or depends on
the model's code, is kept under what the model was loaded from instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from robustness.perturbation.occlusion import Occlusion

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
    # Beside the run's own entries, which are counted: whether a model is known is chance.
    store = Store(subject.store.root)

    def key(identity: str) -> dict[str, Any]:
        return {**what, "identity": identity, "device": subject.encoder.device}

    before = subject.identity()
    known = None if before is None else store.kept(key(before))
    if known is not None:
        return known
    found = compute()
    # By now the model may have imported what it had not when it was loaded.
    after = subject.identity()
    return found if after is None else store.fetch(key(after), lambda: found)


def see_store(
    subject: Subject,
    chosen: Sequence[int],
    tolerance: float,
    occlusions: Sequence[Occlusion] = (),
) -> None:
    """Embeds some images and reports anew and compares with what the store holds, if need be.

    Two models that claim one fingerprint share their entries: what is measured of the one
    would be the other. And a model that answers a batch with what it kept of another one of
    the same size may do so with the whole set alone.

    Args:
        subject: The model on its evaluation set.
        chosen: The indexes of the images; as many reports are embedded.
        tolerance: How far the entries of an embedding may move, if the run's precision can tell.
        occlusions: What was measured beside the clean images. Of each that the store holds one
            of the images is embedded anew, in turn.

    Raises:
        StoreError: The store holds other embeddings than the model makes.
    """
    stored, _ = subject.images(CLEAN)
    rows = [_Rows("images", CLEAN, tuple(chosen), stored[list(chosen)])]
    for number, occlusion in enumerate(occlusions):
        kept = subject.kept(occlusion)
        if kept is not None:
            one = chosen[number % len(chosen)]
            rows.append(_Rows("images", occlusion, (one,), kept[[one]]))
    rows.append(_Rows("reports", CLEAN, tuple(chosen), subject.reports[: len(chosen)]))
    held = hashlib.sha256(b"".join(each.rows.tobytes() for each in rows)).hexdigest()

    def check() -> Arrays:
        _compare(subject, rows, tolerance)
        return {"seen": np.ones(1)}

    what: dict[str, Any] = {"of": "freshness", "held": held, "precision": subject.precision}
    what |= {"evalset": subject.evalset.fingerprint, "chosen": list(chosen)}
    what |= {"occlusions": [str(each.occlusion) for each in rows]}
    noted(subject, {**what, "texts": subject.matching.texts[: len(chosen)]}, check)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Embeddings of the store: of images under an occlusion, or of the first reports."""

    of: str
    occlusion: Occlusion
    chosen: tuple[int, ...]
    rows: NDArray[np.float32]


def _compare(subject: Subject, held: Sequence[_Rows], tolerance: float) -> None:
    # In 16 bits an embedding moves with the batch around it, by about what they can tell apart.
    tolerance = max(tolerance, torch.finfo(getattr(torch, subject.precision)).eps)
    for each in held:
        with TemporaryDirectory() as folder:
            fresh = Embedded(
                subject.encoder,
                subject.evalset.subset(each.chosen),
                subject.matching.texts[: len(each.chosen)],
                Store(Path(folder)),
                batch_size=subject.batch_size,
                precision=subject.precision,
            )
            images = each.of == "images"
            found = fresh.images(each.occlusion)[0] if images else fresh.reports
        apart = float(np.abs(found - each.rows).max())
        if not apart <= tolerance:
            hidden = f" under {each.occlusion}" if each.occlusion.level > 0 else ""
            raise StoreError(
                f"store {subject.store.root} holds other embeddings of {each.of}{hidden} than"
                f" {subject.encoder.name} makes, by {apart:.2g}: another model claims its"
                " fingerprint, or the store is stale, or it answers by what it saw before; name"
                " another folder with --robustness-store",
                "store_stale",
            )
