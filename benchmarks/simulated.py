"""Simulated models at the cost of a matrix product, and their ranks in 32 cases."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from robustness.regression import holm, query_clusters
from robustness.regression._signflip import cluster_sums, tail
from robustness.thresholds import ALPHA

Values = NDArray[np.float64]
Floats = NDArray[np.float32]

LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
DIMENSIONS = 64
"""Number of principal directions of the embeddings; they have 99.6 % of the square norm."""


@dataclass(frozen=True)
class Patients:
    """Embeddings of images in every case and of texts, which form one gallery."""

    images: list[Floats]  # [n, D] per distinct case
    reports: Floats  # [M, D]
    text: NDArray[np.int64]  # [n], the text of each image
    case_of: tuple[int, ...]  # the index into images of each of the 32 cases

    def __len__(self) -> int:
        return len(self.text)

    def take(self, index: NDArray[np.int64]) -> Patients:
        texts, text = np.unique(self.text[index], return_inverse=True)
        return Patients(
            [rows[index] for rows in self.images], self.reports[texts], text, self.case_of
        )

    def mapped(self, images: Floats, reports: Floats) -> Patients:
        """Return the patients with embeddings multiplied by two maps."""
        return Patients(
            [unit(rows @ images) for rows in self.images],
            unit(self.reports @ reports),
            self.text,
            self.case_of,
        )

    @cached_property
    def cluster(self) -> NDArray[np.int64]:
        """Cluster of each image, then of each text."""
        clusters = query_clusters(self.text, [str(i) for i in range(len(self))])
        return np.concatenate([clusters["image_to_report"], clusters["report_to_image"]])

    @cached_property
    def share(self) -> Values:
        """Weight of each image, then of each text, in the mean over both directions."""
        n, m = len(self), len(self.reports)
        return np.concatenate([np.full(n, 0.5 / n), np.full(m, 0.5 / m)])

    def ranks(self) -> NDArray[np.int32]:
        """Return the rank of each query's best positive by distinct case: ``[distinct, n + M]``.

        Only strictly higher scores count; ties are about one score in 10^7.
        """
        return np.stack([rank(rows, self.reports, self.text) for rows in self.images])


def rank(images: Floats, reports: Floats, text: NDArray[np.int64]) -> NDArray[np.int32]:
    n, m = len(images), len(reports)
    scores = (torch.from_numpy(images) @ torch.from_numpy(reports).T).numpy()
    positive = scores[np.arange(n), text]
    best = np.full(m, -np.inf, dtype=np.float32)
    np.maximum.at(best, text, positive)
    of_images = np.bitwise_count(np.packbits(scores > positive[:, None], axis=1)).sum(1, dtype=int)
    above = (scores > best).view(np.uint8)
    blocks = [above[i : i + 255].sum(0, dtype=np.uint8).astype(int) for i in range(0, n, 255)]
    return np.concatenate([of_images, sum(blocks)]).astype(np.int32) + 1


def unit(rows: Floats) -> Floats:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def embed(population: int, levels: Sequence[float], folder: Path) -> Patients:
    from robustness.embedding import Store, decode_once
    from robustness.embedding.dataset import EmbeddingSettings
    from robustness.encoder import load as load_encoder
    from robustness.evalset import load
    from robustness.perturbation.occlusion import Occlusion
    from robustness.run.subject import Subject

    store = Store(folder)
    subject = Subject(
        load_encoder("robustness.models.phantom:load"),
        decode_once(load(f"phantom:{population}:1"), store),
        EmbeddingSettings(store),
        positives="identical_text",
        seed=0,
    )
    cases = list(itertools.product(("square", "grid"), ("black", "grey"), levels))
    # The four cases at level 0 are the same, but count as four in Holm's correction.
    keys = [("clean",) if case[2] == 0 else case for case in cases]
    distinct = list(dict.fromkeys(keys))
    images = []
    for key in distinct:
        pattern, fill, level = key if len(key) == 3 else ("square", "black", 0.0)
        images.append(subject.embeddings.images(Occlusion(pattern, level, fill))[0])
    everything = np.concatenate([images[0], subject.embeddings.reports])
    _, directions = np.linalg.eigh(everything.T @ everything)
    principal = directions[:, ::-1][:, :DIMENSIONS]
    return Patients(
        [unit(rows @ principal) for rows in images],
        unit(subject.embeddings.reports @ principal),
        subject.matching.text_of_image,
        tuple(distinct.index(key) for key in keys),
    )


def near_identity(rng: np.random.Generator, scale: float) -> Floats:
    noise = rng.normal(size=(DIMENSIONS, DIMENSIONS)) * scale / np.sqrt(DIMENSIONS)
    return (np.eye(DIMENSIONS) + noise).astype(np.float32)


def model(rng: np.random.Generator, patients: Patients, scale: float) -> Patients:
    return patients.mapped(near_identity(rng, scale), near_identity(rng, scale))


def halved(patients: Patients) -> Patients:
    """Return the same model with embeddings in half precision."""
    return Patients(
        [rows.astype(np.float16).astype(np.float32) for rows in patients.images],
        patients.reports.astype(np.float16).astype(np.float32),
        patients.text,
        patients.case_of,
    )


# --- comparison, as in robustness.regression ----------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """Terms of log rank and hit@10, and McNemar's counts, by cluster and distinct case."""

    terms: Values  # [C, distinct]
    hits: Values  # [C, distinct], positive for lost hits
    lost: Values  # [C, 2 distinct]: queries that lost or gained a hit, by direction
    gained: Values
    case_of: NDArray[np.int64]

    @classmethod
    def of(cls, patients: Patients, baseline: NDArray, candidate: NDArray) -> Compared:
        cluster, share = patients.cluster, patients.share
        count = cluster.max() + 1
        loss = (baseline <= 10).astype(float) - (candidate <= 10)
        rise = np.log(candidate / baseline)

        def sums(values: Values) -> Values:
            return np.stack([cluster_sums(row, cluster) for row in values], axis=1)

        ways = np.arange(len(cluster)) < len(patients), np.arange(len(cluster)) >= len(patients)
        signs = [np.concatenate([np.maximum(s * loss, 0) * w for w in ways]) for s in (1, -1)]
        assert count == len(np.unique(cluster))
        return cls(
            sums(rise * share), sums(loss * share), *map(sums, signs), np.array(patients.case_of)
        )

    @classmethod
    def joined(cls, parts: Sequence[Compared]) -> Compared:
        names = ("terms", "hits", "lost", "gained")
        columns = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
        return cls(*columns, parts[0].case_of)

    def take(self, clusters: NDArray[np.int64]) -> Compared:
        names = ("terms", "hits", "lost", "gained")
        return Compared(*(getattr(self, name)[clusters] for name in names), self.case_of)

    def flipped(self, signs: NDArray[np.bool_]) -> Compared:
        """Return the comparison with baseline and candidate swapped in the marked clusters."""
        way = np.where(signs, -1.0, 1.0)[:, None]
        lost = np.where(signs[:, None], self.gained, self.lost)
        gained = np.where(signs[:, None], self.lost, self.gained)
        return Compared(self.terms * way, self.hits * way, lost, gained, self.case_of)

    @cached_property
    def drops(self) -> Values:
        return self.hits.sum(0)

    @cached_property
    def z(self) -> Values:
        size = np.sqrt((self.terms**2).sum(0))
        return np.divide(self.terms.sum(0), size, out=np.zeros_like(size), where=size > 0)

    @cached_property
    def p_values(self) -> dict[int, float]:
        return {}

    def p(self, k: int) -> float:
        """Return the p-value of a distinct case, exact if it can decide.

        P(T >= z sd) is at most exp(-z^2 / 2) (Hoeffding), so a large z is always rejected. For z
        below 2.5, p is far above alpha, and 1 is returned.
        """
        if k not in self.p_values:
            bound = float(np.exp(-(self.z[k] ** 2) / 2))
            certain = bound <= ALPHA / len(self.case_of)
            if self.z[k] < 2.5:
                self.p_values[k] = 1.0
            else:
                self.p_values[k] = bound if certain else tail(self.terms[:, k])
        return self.p_values[k]

    def regressed(self, margin: float, alpha: float = ALPHA) -> bool:
        """Return whether Holm's correction rejects a case whose drop exceeds the margin."""
        by_z = np.argsort(-self.z)
        dropped = [k for k in by_z if self.drops[k] > margin and self.z[k] >= 2.5]
        if not dropped:
            return False
        # Holm's first step decides most cases and needs no other p-value.
        first_step = alpha / len(self.case_of)
        if any(self.p(k) <= first_step for k in dropped[:3]):
            return True
        return bool(len(self.failing(margin, alpha)))

    def failing(self, margin: float, alpha: float = ALPHA) -> NDArray[np.int64]:
        """Return the indices of the failing cases among all 32."""
        p = np.array([self.p(k) for k in range(len(self.z))])[self.case_of]
        return np.flatnonzero((holm(p) <= alpha) & (self.drops[self.case_of] > margin))

    def regressed_alone(self, k: int, margin: float, alpha: float = ALPHA) -> bool:
        """Return the same if only case k drops, so that Holm's first step decides."""
        return self.drops[k] > margin and self.p(k) <= alpha / len(self.case_of)

    @cached_property
    def mcnemar(self) -> Values:
        """Exact one-sided p-value of each case: twice the smaller one of both directions."""
        lost, gained = self.lost.sum(0), self.gained.sum(0)
        p = stats.binom.sf(lost - 1, lost + gained, 0.5)
        return np.minimum(2 * p.reshape(2, -1).min(0), 1)
