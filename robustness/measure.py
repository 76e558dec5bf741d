"""One model on one evaluation set: embeddings, ranks, estimates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from robustness import metrics
from robustness.embedding import Store, embed_images, embed_reports
from robustness.encoder import DualEncoder
from robustness.errors import EvaluationSetError, GateError
from robustness.evalset import EvaluationSet, Exclusion, Matching, match
from robustness.occlusion import SCHEMA, Occlusion
from robustness.ranking import Positives, RankCounts, Score, rank_counts
from robustness.statistics import REPLICATES, Bootstrap, Estimate, Replicates

PRECISION = "float32"
EMPTY_TEXT = "no text under the model's text policy"

CLEAN = Occlusion("square", 0)
"""Level 0 hides nothing, so pattern, fill and seed are of no account there."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What retrieval in one direction reached under one occlusion.

    Attributes:
        n: How many queries.
        estimates: Every metric of :data:`robustness.metrics.RANGES`, with intervals.
        chance: The same metrics but retention, for a model that knows nothing.
        headline: Replicates of hit@10, from which curves over the levels are made.
        hidden: The share of the area that was hidden, on average over the images.
    """

    n: int
    estimates: dict[str, Estimate]
    chance: dict[str, float]
    headline: Replicates
    hidden: float


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
                f" ({', '.join(encoder.text_policy.sections)})"
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
        )["embeddings"]
        return self._finite(embedded, "report", self.matching.texts)

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
        embedded = self._finite(
            entry["embeddings"], "image", [pair.image_id for pair in evalset.pairs]
        )
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

    def _finite(
        self, embedded: NDArray[np.float32], what: str, names: Sequence[str]
    ) -> NDArray[np.float32]:
        bad = np.flatnonzero(~np.isfinite(embedded).all(axis=1))
        if bad.size:
            raise GateError(
                f"{type(self.encoder).__name__} embeds {bad.size} of {len(embedded)} {what}s as"
                f" NaN or infinite, the first {names[bad[0]][:60]!r}"
            )
        return embedded

    # --- ranks and estimates ---------------------------------------------------------

    def rank(self, occlusion: Occlusion) -> dict[str, RankCounts]:
        """Rank counts in both directions, by direction."""
        images, _ = self.images(occlusion)
        return {
            "image_to_report": self.rank_reports(images, self.matching.reports_of_image),
            "report_to_image": self.rank_images(
                self.reports, images, self.matching.images_of_report
            ),
        }

    def rank_reports(self, images: NDArray[np.float32], right: Positives) -> RankCounts:
        """Rank counts of images as queries against all the reports."""
        encoder = self.encoder
        score = None if encoder.scores_by_cosine else encoder.score
        return self._counts(images, self.reports, right, score)

    def rank_images(
        self, reports: NDArray[np.float32], images: NDArray[np.float32], right: Positives
    ) -> RankCounts:
        """Rank counts of reports as queries against images."""
        encoder = self.encoder
        score = None if encoder.scores_by_cosine else lambda r, i: encoder.score(i, r).T
        return self._counts(reports, images, right, score)

    def _counts(
        self,
        queries: NDArray[np.float32],
        gallery: NDArray[np.float32],
        right: Positives,
        score: Score | None,
    ) -> RankCounts:
        """Ranks on the model's device; scores that cannot be ranked are the model's failure."""
        device = self.encoder.device
        asked, answers = (torch.from_numpy(rows).to(device) for rows in (queries, gallery))
        try:
            return rank_counts(asked, answers, right, score=score)
        except ValueError as error:
            raise GateError(f"{type(self.encoder).__name__} cannot be ranked: {error}") from error

    def rank_subset(self, occlusion: Occlusion, subset: Sequence[int]) -> RankCounts:
        """Rank counts of some images as queries against all the reports."""
        images, _ = self.images(occlusion, subset)
        right = [self.matching.reports_of_image[i] for i in subset]
        return self.rank_reports(images, right)

    def measure(self, occlusion: Occlusion) -> dict[str, Measurement]:
        """Every metric with its interval, by direction."""
        counts = self.rank(occlusion)
        replicates = self._replicates(counts)
        chances = {name: _points(metrics.uninformed(c)) for name, c in counts.items()}
        rsum = math.fsum(chance["rsum"] for chance in chances.values())
        _, hidden = self.images(occlusion)
        return {
            direction: Measurement(
                n=len(counts[direction]),
                estimates=self._estimates(
                    direction, replicates, chances[direction] | {"rsum": rsum}
                ),
                chance=chances[direction] | {"rsum": rsum},
                headline=replicates[direction][metrics.HEADLINE],
                hidden=hidden,
            )
            for direction in counts
        }

    def _estimates(
        self,
        direction: str,
        replicates: dict[str, dict[str, Replicates]],
        chance: dict[str, float],
    ) -> dict[str, Estimate]:
        mine, clean = replicates[direction], self._clean[direction]
        estimates = {name: values.estimate() for name, values in mine.items()}
        for name in (*metrics.MEANS, "rsum"):
            kept = Replicates(
                float(metrics.retention(mine[name].value, clean[name].value, chance[name])),
                metrics.retention(mine[name].resampled, clean[name].resampled, chance[name]),
            )
            estimates[f"retention({name})"] = kept.estimate()
        return estimates

    @cached_property
    def _clean(self) -> dict[str, dict[str, Replicates]]:
        return self._replicates(self.rank(CLEAN))

    @cached_property
    def _bootstrap(self) -> Bootstrap:
        studies = [pair.study_id for pair in self.evalset.pairs]
        return Bootstrap(studies, seed=self.seed, replicates=REPLICATES)

    def _replicates(self, counts: dict[str, RankCounts]) -> dict[str, dict[str, Replicates]]:
        """Replicates of every metric, by direction and name.

        An image is an observation of its study. A text that m images came with is shared
        between them, an m-th each, so that the mean over studies is the mean over texts.
        """
        text = self.matching.text_of_image
        share = 1 / np.bincount(text)[text]
        named: dict[str, dict[str, Replicates]] = {}
        for direction, counted in counts.items():
            by_text = direction == "report_to_image"
            weights = share if by_text else None
            named[direction] = {
                name: self._bootstrap.mean(values[text] if by_text else values, weights)
                for name, values in metrics.per_query(counted).items()
            }
            ranks = metrics.ranks(counted)
            named[direction]["median_rank"] = self._bootstrap.median(
                ranks[text] if by_text else ranks, weights
            )
        rsum = _sum(
            [named[direction][f"hit@{k}"] for direction in named for k in metrics.RSUM_CUTOFFS]
        )
        return {direction: values | {"rsum": rsum} for direction, values in named.items()}


def _sum(parts: Sequence[Replicates]) -> Replicates:
    return Replicates(
        math.fsum(part.value for part in parts), np.sum([part.resampled for part in parts], axis=0)
    )


def _points(counts: RankCounts) -> dict[str, float]:
    """Every metric without intervals; ``rsum`` of one direction alone."""
    values = {name: float(per.mean()) for name, per in metrics.per_query(counts).items()}
    values["median_rank"] = metrics.median_rank(counts)
    values["rsum"] = math.fsum(values[f"hit@{k}"] for k in metrics.RSUM_CUTOFFS)
    return values
