"""One model on one evaluation set: embeddings, ranks, estimates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from robustness import metrics
from robustness.counts import RankCounts
from robustness.embedding import Store, embed_images, embed_reports
from robustness.encoder import DualEncoder
from robustness.errors import EmbeddingError, EvaluationSetError, GateError, StoreError
from robustness.estimates import Estimator, Ranked, chances, estimates
from robustness.evalset import EvaluationSet, Exclusion, Matching, match
from robustness.occlusion import SCHEMA, Occlusion
from robustness.ranking import Positives, Score, Watch, rank_counts
from robustness.relevance import LabelRanking, label_rankings
from robustness.statistics import Estimate, Replicates

PRECISION = "float32"
EMPTY_TEXT = "no text under the model's text policy"

CLEAN = Occlusion("square", 0)
"""Level 0 hides nothing, so pattern, fill and seed are of no account there."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What retrieval in one direction reached under one occlusion.

    Attributes:
        n: How many queries.
        labelled: How many of them take part in the metrics by label agreement.
        estimates: Every metric of :data:`robustness.metrics.RANGES`, with intervals; those by
            label agreement are NaN where the set has no labels, or one label set alone.
        chance: The same metrics but retention, for a model that knows nothing.
        headline: Replicates of hit@10, from which curves over the levels are made.
        hidden: The share of the area that was hidden, on average over the images.
        counts: Where each query's right answers stand.
    """

    n: int
    labelled: int
    estimates: dict[str, Estimate]
    chance: dict[str, float]
    headline: Replicates
    hidden: float
    counts: RankCounts


class Subject:
    """A model under test on an evaluation set.

    Args:
        encoder: The model.
        evalset: The evaluation set.
        positives: The policy of positives.
        store: Where embeddings are kept.
        seed: Of the bootstrap.
        batch_size: Images or texts a forward pass.

    Raises:
        EvaluationSetError: No image is left whose report the model can read.
    """

    def __init__(
        self,
        encoder: DualEncoder,
        evalset: EvaluationSet,
        *,
        positives: str,
        store: Store,
        seed: int,
        batch_size: int,
    ) -> None:
        self.encoder = encoder
        self.store = store
        self.batch_size = batch_size
        self.seed = seed
        texts = [encoder.text_policy.text(pair.report) for pair in evalset.pairs]
        kept = [i for i, text in enumerate(texts) if text]
        if not kept:
            raise EvaluationSetError(
                f"evaluation set {evalset.spec!r}: no report has the text this model reads"
                f" ({', '.join(encoder.text_policy.sections)})",
                "no_text",
            )
        self.excluded = tuple(
            Exclusion(pair.image_id, EMPTY_TEXT)
            for pair, text in zip(evalset.pairs, texts, strict=True)
            if not text
        )
        self.evalset = evalset if len(kept) == len(evalset) else evalset.subset(kept)
        self.matching: Matching = match(
            [texts[i] for i in kept], [pair.study_id for pair in self.evalset.pairs], positives
        )

    # --- embeddings ----------------------------------------------------------------

    @cached_property
    def reports(self) -> NDArray[np.float32]:
        """The embeddings of the texts, float32 ``[M, D]``."""
        key = self._key() | {"of": "reports", "texts": list(self.matching.texts)}
        embedded = self.store.fetch(
            key,
            lambda: {
                "embeddings": embed_reports(
                    self.encoder, self.matching.texts, batch_size=self.batch_size
                )
            },
        )
        return self._sound(embedded, "report", self.matching.texts)

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
        evalset = self.evalset if subset is None else self.evalset.subset(subset)
        occlusion = occlusion if occlusion.level > 0 else CLEAN
        key = self._key() | {
            "of": "images",
            "evalset": evalset.fingerprint,
            "occlusion": [SCHEMA, str(occlusion)],
        }
        entry = self.store.fetch(key, lambda: self._embed(evalset, occlusion))
        embedded = self._sound(entry, "image", [pair.image_id for pair in evalset.pairs])
        return embedded, float(entry["hidden"].mean())

    def _embed(
        self, evalset: EvaluationSet, occlusion: Occlusion
    ) -> dict[str, NDArray[np.floating]]:
        hidden: list[float] = []

        def occluded(pair_id: str, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
            hidden.append(float(occlusion.mask(pair_id, *image.shape).mean()))
            return occlusion.apply(image, pair_id)

        images = (occluded(pair.image_id, evalset.decode(pair)) for pair in evalset.pairs)
        embedded = embed_images(self.encoder, images, batch_size=self.batch_size)
        return {"embeddings": embedded, "hidden": np.array(hidden)}

    def _key(self) -> dict[str, object]:
        return {"encoder": self.encoder.fingerprint, "precision": PRECISION}

    def _sound(
        self, entry: dict[str, NDArray[np.floating]], what: str, names: Sequence[str]
    ) -> NDArray[np.float32]:
        """The embeddings of an entry of the store: one a name, and all of them numbers."""
        embedded = entry["embeddings"]
        expected = (len(names), self.encoder.embedding_dim)
        if embedded.shape != expected or embedded.dtype != np.float32:
            raise StoreError(
                f"store {self.store.root} holds {len(names)} {what}s of"
                f" {type(self.encoder).__name__} as {embedded.dtype} {list(embedded.shape)}, not"
                f" float32 {list(expected)}; name another folder with --robustness-store",
                "store_stale",
            )
        bad = np.flatnonzero(~np.isfinite(embedded).all(axis=1))
        if bad.size:
            raise EmbeddingError(
                f"{type(self.encoder).__name__} embeds {bad.size} of {len(embedded)} {what}s as"
                f" NaN or infinite, the first {names[bad[0]][:60]!r}",
                "embedding_not_finite",
            )
        return embedded

    # --- ranks and estimates ---------------------------------------------------------

    def rank(self, occlusion: Occlusion) -> dict[str, Ranked]:
        """What is known of the rankings, by direction."""
        images, _ = self.images(occlusion)
        matching = self.matching

        def to_report(watch: Watch | None) -> RankCounts:
            return self.rank_reports(images, matching.reports_of_image, watch)

        def to_image(watch: Watch | None) -> RankCounts:
            return self.rank_images(self.reports, images, matching.images_of_report, watch)

        return {
            "image_to_report": _ranked(to_report, self._relevance.get("image_to_report")),
            "report_to_image": _ranked(to_image, self._relevance.get("report_to_image")),
        }

    @cached_property
    def _relevance(self) -> dict[str, LabelRanking]:
        return label_rankings(
            [pair.labels for pair in self.evalset.pairs],
            self.matching.text_of_image,
            places=max(metrics.LABEL_CUTOFFS),
            device=self.encoder.device,
        )

    def rank_reports(
        self, images: NDArray[np.float32], right: Positives, watch: Watch | None = None
    ) -> RankCounts:
        """Rank counts of images as queries against all the reports."""
        encoder = self.encoder
        score = None if encoder.scores_by_cosine else encoder.score
        return self._counts(images, self.reports, right, score, watch)

    def rank_images(
        self,
        reports: NDArray[np.float32],
        images: NDArray[np.float32],
        right: Positives,
        watch: Watch | None = None,
    ) -> RankCounts:
        """Rank counts of reports as queries against images."""
        encoder = self.encoder
        score = None if encoder.scores_by_cosine else lambda r, i: encoder.score(i, r).T
        return self._counts(reports, images, right, score, watch)

    def _counts(
        self,
        queries: NDArray[np.float32],
        gallery: NDArray[np.float32],
        right: Positives,
        score: Score | None,
        watch: Watch | None,
    ) -> RankCounts:
        """Ranks on the model's device; scores that cannot be ranked are the model's failure."""
        device = self.encoder.device
        asked, answers = (torch.from_numpy(rows).to(device) for rows in (queries, gallery))
        try:
            return rank_counts(asked, answers, right, score=score, watch=watch)
        except ValueError as error:
            lacking = not all(np.size(answers) for answers in right)
            raise GateError(
                f"{type(self.encoder).__name__} cannot be ranked: {error}",
                "no_positives" if lacking else None,
            ) from error

    def rank_subset(self, occlusion: Occlusion, subset: Sequence[int]) -> RankCounts:
        """Rank counts of some images as queries against all the reports."""
        images, _ = self.images(occlusion, subset)
        right = [self.matching.reports_of_image[i] for i in subset]
        return self.rank_reports(images, right)

    def measure(self, occlusion: Occlusion) -> dict[str, Measurement]:
        """Every metric with its interval, by direction."""
        ranked = self.rank(occlusion)
        replicates = self._estimator.replicates(ranked)
        chance = chances(ranked)
        _, hidden = self.images(occlusion)
        return {
            direction: Measurement(
                n=len(found.counts),
                labelled=len(found.labelled),
                estimates=estimates(
                    replicates[direction], self._clean[direction], chance[direction]
                ),
                chance=chance[direction],
                headline=replicates[direction][metrics.HEADLINE],
                hidden=hidden,
                counts=found.counts,
            )
            for direction, found in ranked.items()
        }

    @cached_property
    def _estimator(self) -> Estimator:
        return Estimator(self.matching, [pair.study_id for pair in self.evalset.pairs], self.seed)

    @cached_property
    def _clean(self) -> dict[str, dict[str, Replicates]]:
        return self._estimator.replicates(self.rank(CLEAN))


def _ranked(rank: Callable[[Watch | None], RankCounts], relevance: LabelRanking | None) -> Ranked:
    if relevance is None:
        return Ranked(rank(None), None, np.zeros(0, dtype=np.int64))
    watcher = relevance.watch()
    return Ranked(rank(watcher), watcher.gains(), relevance.queries.place)
