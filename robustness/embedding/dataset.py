"""The embeddings of one model on one evaluation set: from the store, or made and stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from robustness._util.profile import STORE, Profile
from robustness._util.progress import Stream
from robustness._util.text import counted
from robustness.embedding import Store, check_precision, embed_reports
from robustness.embedding._pass import Pass
from robustness.embedding.canvas import Canvases
from robustness.encoder import DualEncoder
from robustness.errors import EmbeddingError, StoreError
from robustness.evalset import EvaluationSet
from robustness.perturbation.occlusion import CLEAN, SCHEMA, Occlusion

Arrays = dict[str, NDArray[np.floating]]

TOGETHER = 2**30
"""Bytes of embeddings that one pass over the images makes; they are in memory until it ends."""

AT_ONCE = 64
"""Occlusions that one pass makes at most: each holds a lock, which is an open file."""


class Embedded:
    """What a model makes of the images and the texts of a set.

    Args:
        encoder: The model.
        evalset: The evaluation set.
        texts: The texts that the model reads, each once.
        store: Where embeddings are kept.
        batch_size: Images or texts a forward pass.
        precision: What forward passes are computed in, of
            :data:`robustness.embedding.PRECISIONS`.
        profile: Where the time is counted.
        stream: Where progress is shown, if it is a terminal.
        on_device: Whether images are occluded and preprocessed on the model's device; None to do
            so on a GPU where the model offers it.

    Raises:
        UsageError: There is no such precision, or the device does not compute in it.
    """

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        encoder: DualEncoder,
        evalset: EvaluationSet,
        texts: Sequence[str],
        store: Store,
        *,
        batch_size: int,
        precision: str,
        profile: Profile | None = None,
        stream: Stream | None = None,
        on_device: bool | None = None,
    ) -> None:
        check_precision(precision, encoder.device)
        self._encoder = encoder
        self._evalset = evalset
        self._texts = texts
        self._store = store
        self._profile = Profile() if profile is None else profile
        self._pass = Pass(
            encoder,
            Canvases(encoder.device),
            on_device,
            batch_size,
            precision,
            self._profile,
            stream,
        )

    @cached_property
    def reports(self) -> NDArray[np.float32]:
        """The embeddings of the texts, float32 ``[M, D]``."""
        settings = self._pass

        def compute() -> Arrays:
            embeddings = embed_reports(
                self._encoder,
                self._texts,
                batch_size=settings.batch_size,
                precision=settings.precision,
                profile=self._profile,
                stream=settings.stream,
            )
            return {"embeddings": embeddings}

        entry = self._fetch(self._key() | {"of": "reports", "texts": list(self._texts)}, compute)
        return self._sound(entry, "report", self._texts)

    def prepare(self, occlusions: Iterable[Occlusion]) -> None:
        """Embeds the images under all those occlusions that the store lacks, in one pass.

        Args:
            occlusions: What is hidden; doubles are of no account.

        Raises:
            StoreError: An entry cannot be written.
        """
        wanted = list(dict.fromkeys(map(_normal, occlusions)))
        size = max(1, len(self._evalset) * self._encoder.embedding_dim * 4)
        together = min(AT_ONCE, max(1, TOGETHER // size))
        for start in range(0, len(wanted), together):
            part = wanted[start : start + together]
            with self._profile.phase(STORE):
                # What is returned is let go: a ranking reads its entry when its turn comes.
                self._store.fetch_all(
                    [self._image_key(self._evalset, occlusion) for occlusion in part],
                    partial(self._embed, part),
                )

    def images(
        self, occlusion: Occlusion, subset: Sequence[int] | None = None
    ) -> tuple[NDArray[np.float32], float]:
        """The embeddings of occluded images, and the share of their area that is hidden.

        Args:
            occlusion: What is hidden.
            subset: The indexes of the images; all of them, where there are none.

        Returns:
            float32 ``[n, D]``, and the mean achieved level.
        """
        evalset = self._evalset if subset is None else self._evalset.subset(subset)
        occlusion = _normal(occlusion)
        entry = self._fetch(
            self._image_key(evalset, occlusion),
            lambda: self._pass.embed(evalset, [occlusion])[0],
        )
        embedded = self._sound(entry, "image", [pair.image_id for pair in evalset.pairs])
        return embedded, float(entry["hidden"].mean())

    def kept(self, occlusion: Occlusion) -> NDArray[np.float32] | None:
        """The embeddings of occluded images, if the store holds them: float32 ``[N, D]``."""
        entry = self._store.kept(self._image_key(self._evalset, _normal(occlusion)))
        names = [pair.image_id for pair in self._evalset.pairs]
        return None if entry is None else self._sound(entry, "image", names)

    def _embed(self, occlusions: Sequence[Occlusion], missing: Sequence[int]) -> list[Arrays]:
        return self._pass.embed(self._evalset, [occlusions[i] for i in missing])

    def _fetch(self, key: dict[str, object], compute: Callable[[], Arrays]) -> Arrays:
        with self._profile.phase(STORE):
            return self._store.fetch(key, compute)

    def _key(self) -> dict[str, object]:
        return {"encoder": self._encoder.fingerprint, "precision": self._pass.precision}

    def _image_key(self, evalset: EvaluationSet, occlusion: Occlusion) -> dict[str, object]:
        return self._key() | {
            "of": "images",
            "evalset": evalset.fingerprint,
            "occlusion": [SCHEMA, str(occlusion)],
        }

    def _sound(self, entry: Arrays, what: str, names: Sequence[str]) -> NDArray[np.float32]:
        """The embeddings of an entry of the store: one a name, and all of them numbers."""
        embedded = entry["embeddings"]
        expected = (len(names), self._encoder.embedding_dim)
        if embedded.shape != expected or embedded.dtype != np.float32:
            raise StoreError(
                f"store {self._store.root} holds {counted(len(names), what)} of"
                f" {self._encoder.name} as {embedded.dtype} {list(embedded.shape)}, not"
                f" float32 {list(expected)}; name another folder with --robustness-store",
                "store_malformed",
            )
        bad = np.flatnonzero(~np.isfinite(embedded).all(axis=1))
        if bad.size:
            raise EmbeddingError(
                f"{self._encoder.name} embeds {bad.size} of {len(embedded)} {what}s as"
                f" NaN or infinite, the first {names[bad[0]][:60]!r}{self._advice()}",
                "embedding_not_finite",
            )
        return embedded

    def _advice(self) -> str:
        """What to try where numbers may be lost to the precision; float16 ends at 65504."""
        precision = self._pass.precision
        if precision == "float32":
            return ""
        others = "float32" if precision == "bfloat16" else "bfloat16 or float32"
        return f"; computed in {precision}: try {others}"


def _normal(occlusion: Occlusion) -> Occlusion:
    return occlusion if occlusion.level > 0 else CLEAN
