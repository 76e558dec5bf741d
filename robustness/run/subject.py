"""One model on one evaluation set: embeddings, ranks, estimates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray

from robustness import metrics
from robustness._util.profile import INTERVALS, RANKING
from robustness.embedding.dataset import Embeddings, EmbeddingSettings
from robustness.encoder import DualEncoder
from robustness.errors import Code, EvaluationSetError, GateError
from robustness.evalset import EvaluationSet, Exclusion, Matching, match
from robustness.metrics.bootstrap import Estimate, Replicates
from robustness.metrics.estimates import Estimator, Ranked, chances, estimates
from robustness.metrics.rank_counts import RankCounts
from robustness.perturbation.occlusion import CLEAN, Occlusion
from robustness.ranking import Positives, Score, TileCallback, rank_both, rank_counts
from robustness.ranking.label_relevance import LabelRanking, label_rankings
from robustness.thresholds import DIRECTIONS

EMPTY_TEXT = "no text under the model's text policy"
"""Reason why a pair is excluded."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Metrics of one direction under one occlusion.

    Attributes:
        n: Number of queries.
        labelled: Number of queries that count for the metrics by label agreement.
        estimates: Every metric of :data:`robustness.metrics.RANGES`, with intervals. Metrics by
            label agreement are NaN if the set has fewer than two different label sets.
        chance: The same metrics, except retention, of a model that guesses.
        headline: Replicates of hit@10, for curves over the levels.
        hidden: Mean hidden share of the images' area.
        counts: Rank counts of the queries.
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
        settings: Settings of how embeddings are computed and stored.
        positives: Policy of positives.
        seed: Seed of the bootstrap.
        identity: Returns a hash of the model's request, code and weights; None if the model is
            not cacheable.

    Attributes:
        evalset: The images with a report that the model can read.
        excluded: The other images, with the reason.
        matching: The distinct texts, and the positives.
        embeddings: Embeddings of the images and texts.

    Raises:
        EvaluationSetError: The model can read no report of the set.
        UsageError: The precision is invalid, or the device does not support it.
    """

    def __init__(
        self,
        encoder: DualEncoder,
        evalset: EvaluationSet,
        settings: EmbeddingSettings,
        *,
        positives: str,
        seed: int,
        identity: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.encoder = encoder
        self.settings = settings
        self.identity = identity
        self._seed = seed
        texts = [encoder.text_policy.text(pair.report) for pair in evalset.pairs]
        readable = [i for i, text in enumerate(texts) if text]
        if not readable:
            raise EvaluationSetError(
                f"evaluation set {evalset.spec!r}: no report has the text this model reads"
                f" ({', '.join(encoder.text_policy.sections)})",
                Code.NO_TEXT,
            )
        self.excluded = tuple(
            Exclusion(pair.image_id, EMPTY_TEXT)
            for pair, text in zip(evalset.pairs, texts, strict=True)
            if not text
        )
        self.evalset = evalset if len(readable) == len(evalset) else evalset.subset(readable)
        self.matching: Matching = match(
            [texts[i] for i in readable], [pair.study_id for pair in self.evalset.pairs], positives
        )
        self.embeddings = Embeddings(encoder, self.evalset, self.matching.texts, settings)

    # --- ranks -----------------------------------------------------------------------

    def rank(self, occlusion: Occlusion) -> dict[str, Ranked]:
        """Return the rankings under an occlusion, by direction."""
        images, _ = self.embeddings.images(occlusion)
        return self._rank(images)

    def _rank(self, images: NDArray[np.float32]) -> dict[str, Ranked]:
        reports = self.embeddings.reports
        of_image, of_report = self.matching.reports_of_image, self.matching.images_of_report
        if self.encoder.scores_by_cosine and not self._relevance:
            with self._ranking(len(images) + len(reports), of_image, of_report):
                both = rank_both(
                    torch.from_numpy(images).to(self.encoder.device),
                    reports,
                    of_image,
                    of_report,
                    stream=self.settings.stream,
                )
            return dict(zip(DIRECTIONS, map(_unlabelled, both), strict=True))
        # Label agreement is collected from whole rows, which only one direction has at a time.
        ranks = (
            partial(self.rank_reports, images, of_image),
            partial(self.rank_images, reports, images, of_report),
        )
        return {
            direction: _ranked(rank, self._relevance.get(direction))
            for direction, rank in zip(DIRECTIONS, ranks, strict=True)
        }

    @cached_property
    def _relevance(self) -> dict[str, LabelRanking]:
        return label_rankings(
            [pair.labels for pair in self.evalset.pairs],
            self.matching.text_of_image,
            depth=max(metrics.LABEL_CUTOFFS),
            device=self.encoder.device,
        )

    def rank_reports(
        self, images: NDArray[np.float32], positives: Positives, on_tile: TileCallback | None = None
    ) -> RankCounts:
        """Return the rank counts of images as queries, with all reports as gallery."""
        score = None if self.encoder.scores_by_cosine else self.encoder.score
        return self._counts(images, self.embeddings.reports, positives, score, on_tile)

    def rank_images(
        self,
        reports: NDArray[np.float32],
        images: NDArray[np.float32],
        positives: Positives,
        on_tile: TileCallback | None = None,
    ) -> RankCounts:
        """Return the rank counts of reports as queries, with images as gallery."""
        encoder = self.encoder
        score = None if encoder.scores_by_cosine else lambda r, i: encoder.score(i, r).T
        return self._counts(reports, images, positives, score, on_tile)

    def rank_subset(self, occlusion: Occlusion, subset: Sequence[int]) -> RankCounts:
        """Return the rank counts of some images as queries, with all reports as gallery."""
        images, _ = self.embeddings.images(occlusion, subset)
        return self.rank_reports(images, [self.matching.reports_of_image[i] for i in subset])

    def _counts(
        self,
        queries: NDArray[np.float32],
        gallery: NDArray[np.float32],
        positives: Positives,
        score: Score | None,
        on_tile: TileCallback | None,
    ) -> RankCounts:
        moved = torch.from_numpy(queries).to(self.encoder.device)
        with self._ranking(len(queries), positives):
            return rank_counts(moved, gallery, positives, score=score, on_tile=on_tile)

    @contextmanager
    def _ranking(self, queries: int, *positives: Positives) -> Iterator[None]:
        """Measure the time of a ranking, and raise its errors as GateError with the model."""
        try:
            with self.settings.profile.phase(RANKING, queries):
                yield
        except ValueError as error:
            complete = all(np.size(indexes) for policy in positives for indexes in policy)
            raise GateError(
                f"{self.encoder.name} cannot be ranked: {error}",
                None if complete else Code.NO_POSITIVES,
            ) from error

    # --- estimates -------------------------------------------------------------------

    def measure(self, occlusion: Occlusion) -> dict[str, Measurement]:
        """Return every metric under an occlusion with its interval, by direction."""
        images, hidden = self.embeddings.images(occlusion)
        ranked = self._rank(images)
        clean = self._clean
        with self.settings.profile.phase(INTERVALS):
            replicates = self._estimator.replicates(ranked)
            chance = chances(ranked)
            return {
                direction: Measurement(
                    n=len(ranking.counts),
                    labelled=len(ranking.labelled),
                    estimates=estimates(replicates[direction], clean[direction], chance[direction]),
                    chance=chance[direction],
                    headline=replicates[direction][metrics.PRIMARY_METRIC],
                    hidden=hidden,
                    counts=ranking.counts,
                )
                for direction, ranking in ranked.items()
            }

    @cached_property
    def _estimator(self) -> Estimator:
        return Estimator(self.matching, [pair.study_id for pair in self.evalset.pairs], self._seed)

    @cached_property
    def _clean(self) -> dict[str, dict[str, Replicates]]:
        ranked = self.rank(CLEAN)
        with self.settings.profile.phase(INTERVALS):
            return self._estimator.replicates(ranked)


def _unlabelled(counts: RankCounts) -> Ranked:
    return Ranked(counts, None, np.zeros(0, dtype=np.int64))


def _ranked(
    rank: Callable[[TileCallback | None], RankCounts], relevance: LabelRanking | None
) -> Ranked:
    if relevance is None:
        return _unlabelled(rank(None))
    collector = relevance.collector()
    return Ranked(rank(collector), collector.gains(), relevance.queries.index)
