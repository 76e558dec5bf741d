"""One model on one evaluation set: embeddings, ranks, estimates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from robustness import metrics
from robustness._util.profile import INTERVALS, RANKING, Profile
from robustness._util.progress import Stream
from robustness.embedding import Store
from robustness.embedding.dataset import Embedded
from robustness.encoder import DualEncoder
from robustness.errors import EvaluationSetError, GateError
from robustness.evalset import EvaluationSet, Exclusion, Matching, match
from robustness.metrics.bootstrap import Estimate, Replicates
from robustness.metrics.estimates import Estimator, Ranked, chances, estimates
from robustness.metrics.rank_counts import RankCounts
from robustness.perturbation.occlusion import CLEAN, Occlusion
from robustness.ranking import Positives, Score, TileCallback, rank_both, rank_counts
from robustness.ranking.label_relevance import LabelRanking, label_rankings
from robustness.thresholds import DIRECTIONS

__all__ = ["CLEAN", "Measurement", "Subject"]

EMPTY_TEXT = "no text under the model's text policy"


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
        precision: What forward passes are computed in: ``float32``, ``bfloat16``, ``float16``.
        profile: Where the time is counted.
        stream: Where progress is shown, if it is a terminal.
        identity: Returns a hash of the model's request, code and weights; None if the model is
            not cacheable.

    Raises:
        EvaluationSetError: No image is left whose report the model can read.
        UsageError: There is no such precision, or the device does not compute in it.
    """

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        encoder: DualEncoder,
        evalset: EvaluationSet,
        *,
        positives: str,
        store: Store,
        seed: int,
        batch_size: int,
        precision: str = "float32",
        profile: Profile | None = None,
        stream: Stream | None = None,
        identity: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.encoder = encoder
        self.identity = identity
        self.store = store
        self.batch_size = batch_size
        self.precision = precision
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
        self._profile = Profile() if profile is None else profile
        self._stream = stream
        self._embedded = Embedded(
            encoder,
            self.evalset,
            self.matching.texts,
            store,
            batch_size=batch_size,
            precision=precision,
            profile=self._profile,
            stream=stream,
        )

    # --- embeddings ----------------------------------------------------------------

    @property
    def reports(self) -> NDArray[np.float32]:
        """The embeddings of the texts, float32 ``[M, D]``."""
        return self._embedded.reports

    def prepare(self, occlusions: Iterable[Occlusion]) -> None:
        """Embeds the images under all those occlusions in one pass; see :class:`Embedded`."""
        self._embedded.prepare(occlusions)

    def images(
        self, occlusion: Occlusion, subset: Sequence[int] | None = None
    ) -> tuple[NDArray[np.float32], float]:
        """Embeddings and the hidden share; see :meth:`robustness.embedding.dataset.Embedded.images`."""
        return self._embedded.images(occlusion, subset)

    def kept(self, occlusion: Occlusion) -> NDArray[np.float32] | None:
        """What the store holds of an occlusion; see :meth:`robustness.embedding.dataset.Embedded.kept`."""
        return self._embedded.kept(occlusion)

    # --- ranks and estimates ---------------------------------------------------------

    def rank(self, occlusion: Occlusion) -> dict[str, Ranked]:
        """What is known of the rankings, by direction."""
        images, _ = self.images(occlusion)
        return self._rank(images)

    def _rank(self, images: NDArray[np.float32]) -> dict[str, Ranked]:
        reports, matching = self.reports, self.matching
        if self.encoder.scores_by_cosine and not self._relevance:
            found = self._both(images, reports)
            return {
                direction: Ranked(counts, None, np.zeros(0, dtype=np.int64))
                for direction, counts in zip(DIRECTIONS, found, strict=True)
            }

        # What agrees by label is looked up in whole rows, which one direction has at a time.
        def to_report(on_tile: TileCallback | None) -> RankCounts:
            return self.rank_reports(images, matching.reports_of_image, on_tile)

        def to_image(on_tile: TileCallback | None) -> RankCounts:
            return self.rank_images(reports, images, matching.images_of_report, on_tile)

        return {
            direction: _ranked(rank, self._relevance.get(direction))
            for direction, rank in zip(DIRECTIONS, (to_report, to_image), strict=True)
        }

    def _both(
        self, images: NDArray[np.float32], reports: NDArray[np.float32]
    ) -> tuple[RankCounts, RankCounts]:
        device, matching = self.encoder.device, self.matching
        right = matching.reports_of_image, matching.images_of_report
        with self._rankable(len(images) + len(reports), *right):
            return rank_both(
                torch.from_numpy(images).to(device),
                torch.from_numpy(reports).to(device),
                *right,
                stream=self._stream,
            )

    @cached_property
    def _relevance(self) -> dict[str, LabelRanking]:
        return label_rankings(
            [pair.labels for pair in self.evalset.pairs],
            self.matching.text_of_image,
            depth=max(metrics.LABEL_CUTOFFS),
            device=self.encoder.device,
        )

    def rank_reports(
        self, images: NDArray[np.float32], right: Positives, on_tile: TileCallback | None = None
    ) -> RankCounts:
        """Rank counts of images as queries against all the reports."""
        encoder = self.encoder
        score = None if encoder.scores_by_cosine else encoder.score
        return self._counts(images, self.reports, right, score, on_tile)

    def rank_images(
        self,
        reports: NDArray[np.float32],
        images: NDArray[np.float32],
        right: Positives,
        on_tile: TileCallback | None = None,
    ) -> RankCounts:
        """Rank counts of reports as queries against images."""
        encoder = self.encoder
        score = None if encoder.scores_by_cosine else lambda r, i: encoder.score(i, r).T
        return self._counts(reports, images, right, score, on_tile)

    def _counts(
        self,
        queries: NDArray[np.float32],
        gallery: NDArray[np.float32],
        right: Positives,
        score: Score | None,
        on_tile: TileCallback | None,
    ) -> RankCounts:
        """Ranks on the model's device."""
        device = self.encoder.device
        asked, answers = (torch.from_numpy(rows).to(device) for rows in (queries, gallery))
        with self._rankable(len(queries), right):
            return rank_counts(asked, answers, right, score=score, on_tile=on_tile)

    @contextmanager
    def _rankable(self, queries: int, *positives: Positives) -> Iterator[None]:
        """Scores that cannot be ranked are the model's failure."""
        try:
            with self._profile.phase(RANKING, queries):
                yield
        except ValueError as error:
            lacking = not all(np.size(answers) for right in positives for answers in right)
            raise GateError(
                f"{self.encoder.name} cannot be ranked: {error}",
                "no_positives" if lacking else None,
            ) from error

    def rank_subset(self, occlusion: Occlusion, subset: Sequence[int]) -> RankCounts:
        """Rank counts of some images as queries against all the reports."""
        images, _ = self.images(occlusion, subset)
        right = [self.matching.reports_of_image[i] for i in subset]
        return self.rank_reports(images, right)

    def measure(self, occlusion: Occlusion) -> dict[str, Measurement]:
        """Every metric with its interval, by direction."""
        images, hidden = self.images(occlusion)
        ranked = self._rank(images)
        clean = self._clean
        with self._profile.phase(INTERVALS):
            replicates = self._estimator.replicates(ranked)
            chance = chances(ranked)
            found = {
                direction: estimates(replicates[direction], clean[direction], chance[direction])
                for direction in ranked
            }
        return {
            direction: Measurement(
                n=len(known.counts),
                labelled=len(known.labelled),
                estimates=found[direction],
                chance=chance[direction],
                headline=replicates[direction][metrics.PRIMARY_METRIC],
                hidden=hidden,
                counts=known.counts,
            )
            for direction, known in ranked.items()
        }

    @cached_property
    def _estimator(self) -> Estimator:
        return Estimator(self.matching, [pair.study_id for pair in self.evalset.pairs], self.seed)

    @cached_property
    def _clean(self) -> dict[str, dict[str, Replicates]]:
        ranked = self.rank(CLEAN)
        with self._profile.phase(INTERVALS):
            return self._estimator.replicates(ranked)


def _ranked(
    rank: Callable[[TileCallback | None], RankCounts], relevance: LabelRanking | None
) -> Ranked:
    if relevance is None:
        return Ranked(rank(None), None, np.zeros(0, dtype=np.int64))
    collector = relevance.collector()
    return Ranked(rank(collector), collector.gains(), relevance.queries.index)
