"""Embeddings of one model on one evaluation set: from the store, or computed and stored."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustness._util.profile import (
    DECODING,
    IMAGES,
    OCCLUSION,
    PREPROCESSING,
    STORE,
    TEXTS,
    Profile,
)
from robustness._util.progress import Stream, progress
from robustness._util.text import counted
from robustness._util.threads import each
from robustness.embedding._embed import (
    BATCH_SIZE,
    batches,
    encode_images,
    encode_reports,
    stacked,
)
from robustness.embedding._precision import FLOAT32, check_precision
from robustness.embedding._store import Store
from robustness.embedding.padded import DeviceBatches, apply_on_device, prefetch, uses_gpu
from robustness.encoder import DualEncoder
from robustness.errors import Code, EmbeddingError, StoreError
from robustness.evalset import EvaluationSet, Image, Pair
from robustness.perturbation.occlusion import CLEAN, SCHEMA, Occlusion

Arrays = dict[str, NDArray[np.floating]]

MAX_PASS_BYTES = 2**30
"""Maximum size of the embeddings that one pass over the images computes; it holds them all."""

MAX_PASS_OCCLUSIONS = 64
"""Maximum number of occlusions per pass; each one holds a lock, which is an open file."""


@dataclass(frozen=True, slots=True)
class EmbeddingSettings:
    """Settings of how embeddings are computed and stored.

    Attributes:
        store: Store of the embeddings.
        batch_size: Images or texts per forward pass.
        precision: One of :data:`robustness.embedding.PRECISIONS`, used in forward passes.
        profile: Profile that the time is added to, from the caller's thread only.
        stream: Stream for progress bars; shown if it is a terminal.
        on_device: True to occlude and preprocess images on the model's device; None to do so
            on a GPU if the model supports it.
    """

    store: Store
    batch_size: int = BATCH_SIZE
    precision: str = FLOAT32
    profile: Profile = field(default_factory=Profile)
    stream: Stream | None = None
    on_device: bool | None = None


@dataclass(frozen=True, slots=True)
class _Preprocessed:
    """A batch that is ready for the forward pass.

    Attributes:
        index: Index of the occlusion.
        pixels: The model's input.
        hidden: Hidden share of each image's area.
    """

    index: int
    pixels: Tensor
    hidden: list[float]


class Embeddings:
    """Embeddings of the images and texts of an evaluation set.

    On a GPU, a model that supports it has its images occluded and preprocessed there; for other
    models a thread prepares the next batch while the GPU computes. On the CPU nothing runs in
    parallel to the model, which uses all cores.

    Args:
        encoder: The model.
        evalset: The evaluation set.
        texts: Distinct texts that the model reads.
        settings: Settings of how embeddings are computed and stored.

    Raises:
        UsageError: The precision is invalid, or the device does not support it.
    """

    def __init__(
        self,
        encoder: DualEncoder,
        evalset: EvaluationSet,
        texts: Sequence[str],
        settings: EmbeddingSettings,
    ) -> None:
        check_precision(settings.precision, encoder.device)
        self._encoder = encoder
        self._evalset = evalset
        self._texts = texts
        self._settings = settings
        self._device_batches = DeviceBatches(encoder.device)

    @cached_property
    def reports(self) -> NDArray[np.float32]:
        """The embeddings of the texts, float32 ``[M, D]``."""
        key = self._key() | {"of": "reports", "texts": list(self._texts)}
        return self._checked(self._fetch(key, self._embed_texts), "report", self._texts)

    def _embed_texts(self) -> Arrays:
        settings = self._settings
        rows: list[NDArray[np.float32]] = []
        with progress(len(self._texts), "embedding reports", "texts", settings.stream) as advance:
            for batch in batches(self._texts, settings.batch_size):
                with settings.profile.phase(TEXTS, len(batch)):
                    rows.append(encode_reports(self._encoder, batch, settings.precision))
                advance(len(batch))
        return {"embeddings": stacked(self._encoder, rows)}

    def prepare(self, occlusions: Iterable[Occlusion]) -> None:
        """Embed the images under several occlusions in one pass, if they are not stored.

        Args:
            occlusions: The occlusions; duplicates are ignored.

        Raises:
            StoreError: An entry cannot be written.
        """
        distinct = list(dict.fromkeys(map(_normalised, occlusions)))
        size = max(1, len(self._evalset) * self._encoder.embedding_dim * 4)
        step = min(MAX_PASS_OCCLUSIONS, max(1, MAX_PASS_BYTES // size))
        for start in range(0, len(distinct), step):
            part = distinct[start : start + step]
            keys = [self._image_key(self._evalset, occlusion) for occlusion in part]
            with self._settings.profile.phase(STORE):
                # The result is not kept in memory: each ranking reads its own entry.
                self._settings.store.fetch_all(keys, partial(self._embed_missing, part))

    def _embed_missing(self, part: Sequence[Occlusion], missing: Sequence[int]) -> list[Arrays]:
        return self._embed(self._evalset, [part[index] for index in missing])

    def images(
        self, occlusion: Occlusion, subset: Sequence[int] | None = None
    ) -> tuple[NDArray[np.float32], float]:
        """Return the embeddings of the images under an occlusion, and the hidden area.

        Args:
            occlusion: The occlusion.
            subset: Indexes of the images; None for all.

        Returns:
            float32 ``[n, D]``, and the mean hidden share of the images' area.
        """
        evalset = self._evalset if subset is None else self._evalset.subset(subset)
        occlusion = _normalised(occlusion)
        entry = self._fetch(
            self._image_key(evalset, occlusion), lambda: self._embed(evalset, [occlusion])[0]
        )
        rows = self._checked(entry, "image", [pair.image_id for pair in evalset.pairs])
        return rows, float(entry["hidden"].mean())

    def stored(self, occlusion: Occlusion) -> NDArray[np.float32] | None:
        """Return the stored embeddings under an occlusion, float32 ``[N, D]``; None if missing."""
        entry = self._settings.store.get(self._image_key(self._evalset, _normalised(occlusion)))
        ids = [pair.image_id for pair in self._evalset.pairs]
        return None if entry is None else self._checked(entry, "image", ids)

    # --- store -----------------------------------------------------------------------

    def _fetch(self, key: dict[str, object], compute: Callable[[], Arrays]) -> Arrays:
        with self._settings.profile.phase(STORE):
            return self._settings.store.fetch(key, compute)

    def _key(self) -> dict[str, object]:
        return {"encoder": self._encoder.fingerprint, "precision": self._settings.precision}

    def _image_key(self, evalset: EvaluationSet, occlusion: Occlusion) -> dict[str, object]:
        return self._key() | {
            "of": "images",
            "evalset": evalset.fingerprint,
            "occlusion": [SCHEMA, str(occlusion)],
        }

    def _checked(self, entry: Arrays, kind: str, names: Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings of a store entry; raise if the shape is wrong or one is NaN."""
        rows = entry["embeddings"]
        expected = (len(names), self._encoder.embedding_dim)
        if rows.shape != expected or rows.dtype != np.float32:
            raise StoreError(
                f"store {self._settings.store.root} has embeddings of {counted(len(names), kind)}"
                f" of {self._encoder.name} as {rows.dtype} {list(rows.shape)}, not float32"
                f" {list(expected)}; use another folder with --robustness-store",
                Code.STORE_MALFORMED,
            )
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if bad.size:
            advice = {
                "float32": "",
                "bfloat16": "; computed in bfloat16: try float32",
                # The largest float16 is 65504.
                "float16": "; computed in float16: try bfloat16 or float32",
            }
            raise EmbeddingError(
                f"{self._encoder.name} embeds {bad.size} of {len(rows)} {kind}s as NaN or"
                f" infinite, the first {names[bad[0]][:60]!r}{advice[self._settings.precision]}",
                Code.EMBEDDING_NOT_FINITE,
            )
        return rows

    # --- one pass over the images ----------------------------------------------------

    def _embed(self, evalset: EvaluationSet, occlusions: Sequence[Occlusion]) -> list[Arrays]:
        """Embed every image under every occlusion.

        Returns:
            For each occlusion the ``embeddings``, float32 ``[N, D]``, and the ``hidden`` share
            of each image's area, float64 ``[N]``.
        """
        settings = self._settings
        rows: list[list[NDArray[np.float32]]] = [[] for _ in occlusions]
        hidden: list[list[float]] = [[] for _ in occlusions]
        with closing(self._preprocessed(evalset, occlusions)) as preprocessed:
            # The first batch decodes the images, which has its own progress bar.
            first = next(preprocessed)
            total = len(evalset) * len(occlusions)
            with progress(total, "embedding", "images", settings.stream) as advance:
                for batch in chain([first], preprocessed):
                    n = len(batch.hidden)
                    with settings.profile.phase(IMAGES, n):
                        part = encode_images(self._encoder, batch.pixels, n, settings.precision)
                    rows[batch.index].append(part)
                    hidden[batch.index] += batch.hidden
                    advance(n)
        return [
            {"embeddings": stacked(self._encoder, parts), "hidden": np.array(shares)}
            for parts, shares in zip(rows, hidden, strict=True)
        ]

    def _preprocessed(
        self, evalset: EvaluationSet, occlusions: Sequence[Occlusion]
    ) -> Generator[_Preprocessed]:
        """Yield the batches, made by this thread or by one that works ahead of it."""
        profile, on_device = self._settings.profile, self._settings.on_device
        cuda = torch.device(self._encoder.device).type == "cuda"
        if uses_gpu(self._encoder) if on_device is None else on_device:
            yield from self._on_device(evalset, occlusions)
            return
        if not cuda:
            yield from self._on_host(evalset, occlusions, profile)
            return
        # The thread's time overlaps with the model's, so only the wait for it counts.
        overlapping = Profile()
        with closing(prefetch(self._on_host(evalset, occlusions, overlapping))) as ahead:
            while True:
                with profile.phase(PREPROCESSING):
                    batch = next(ahead, None)
                if batch is None:
                    break
                yield batch
        for name, phase in overlapping.phases.items():
            with profile.phase(name, phase.items):
                pass

    def _on_host(
        self, evalset: EvaluationSet, occlusions: Sequence[Occlusion], profile: Profile
    ) -> Generator[_Preprocessed]:
        threads = torch.get_num_threads()
        for pairs in batches(evalset.pairs, self._settings.batch_size):
            with profile.phase(DECODING, len(pairs)):
                images = [evalset.decode(pair) for pair in pairs]
            for index, occlusion in enumerate(occlusions):
                with profile.phase(OCCLUSION, len(pairs)):
                    hidden = _hidden_shares(occlusion, pairs, [image.shape for image in images])
                    inputs = zip(images, pairs, strict=True)
                    occluded = each(partial(_apply, occlusion), inputs, threads=threads)
                with profile.phase(PREPROCESSING, len(pairs)):
                    pixels = self._encoder.preprocess(occluded)
                yield _Preprocessed(index, pixels, hidden)

    def _on_device(
        self, evalset: EvaluationSet, occlusions: Sequence[Occlusion]
    ) -> Generator[_Preprocessed]:
        profile = self._settings.profile
        parts = list(batches(evalset.pairs, self._settings.batch_size))
        with closing(self._device_batches(parts, evalset.decode)) as padded:
            for pairs in parts:
                with profile.phase(DECODING, len(pairs)):
                    batch = next(padded)
                ids = [pair.image_id for pair in pairs]
                for index, occlusion in enumerate(occlusions):
                    with profile.phase(OCCLUSION, len(pairs)):
                        hidden = _hidden_shares(occlusion, pairs, batch.sizes)
                        images = apply_on_device(occlusion, batch.images, ids, batch.sizes)
                    with profile.phase(PREPROCESSING, len(pairs)):
                        pixels = self._encoder.preprocess_on_device(images, batch.sizes)
                        if pixels.is_cuda:
                            # Otherwise the forward pass would be charged for this work.
                            torch.cuda.synchronize(pixels.device)
                    yield _Preprocessed(index, pixels, hidden)


def _apply(occlusion: Occlusion, item: tuple[Image, Pair]) -> Image:
    image, pair = item
    return occlusion.apply(image, pair.image_id)


def _hidden_shares(
    occlusion: Occlusion, pairs: Sequence[Pair], sizes: Sequence[tuple[int, ...]]
) -> list[float]:
    return [
        occlusion.hidden_share(pair.image_id, size[0], size[1])
        for pair, size in zip(pairs, sizes, strict=True)
    ]


def _normalised(occlusion: Occlusion) -> Occlusion:
    """Return the one occlusion that stands for all of level 0, which hide nothing."""
    return occlusion if occlusion.level > 0 else CLEAN
