"""Patients in 32 cases, many models of them for the price of a matrix product, and their ranks."""

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
"""Principal directions of the embeddings that are kept; 99.6 % of their square norm."""


@dataclass(frozen=True)
class Patients:
    """Images of every case, texts, and which text came with which image: a gallery of its own."""

    images: list[Floats]  # one [n, D] a distinct case
    reports: Floats  # [M, D]
    text: NDArray[np.int64]  # [n]
    case_of: tuple[int, ...]  # for each of the 32 cases which of the images

    def __len__(self) -> int:
        return len(self.text)

    def take(self, index: NDArray[np.int64]) -> Patients:
        kept, text = np.unique(self.text[index], return_inverse=True)
        return Patients(
            [rows[index] for rows in self.images], self.reports[kept], text, self.case_of
        )

    def mapped(self, images: Floats, reports: Floats) -> Patients:
        """The same patients, seen by a model whose embeddings pass through two maps."""
        return Patients(
            [unit(rows @ images) for rows in self.images],
            unit(self.reports @ reports),
            self.text,
            self.case_of,
        )

    @cached_property
    def cluster(self) -> NDArray[np.int64]:
        """Of each image and then each text."""
        found = query_clusters(self.text, [str(i) for i in range(len(self))])
        return np.concatenate([found["image_to_report"], found["report_to_image"]])

    @cached_property
    def share(self) -> Values:
        """Of each image and each text in the mean of the two directions' means."""
        n, m = len(self), len(self.reports)
        return np.concatenate([np.full(n, 0.5 / n), np.full(m, 0.5 / m)])

    def ranks(self) -> NDArray[np.int32]:
        """The rank of each query's best answer in each distinct case: ``[distinct, n + M]``.

        Counts what scores strictly above it; ties, one score in 10^7 or so, are not broken.
        """
        return np.stack([rank(rows, self.reports, self.text) for rows in self.images])


def rank(images: Floats, reports: Floats, text: NDArray[np.int64]) -> NDArray[np.int32]:
    n, m = len(images), len(reports)
    scores = (torch.from_numpy(images) @ torch.from_numpy(reports).T).numpy()
    right = scores[np.arange(n), text]
    best = np.full(m, -np.inf, dtype=np.float32)
    np.maximum.at(best, text, right)
    of_images = np.bitwise_count(np.packbits(scores > right[:, None], axis=1)).sum(1, dtype=int)
    above = (scores > best).view(np.uint8)
    blocks = [above[i : i + 255].sum(0, dtype=np.uint8).astype(int) for i in range(0, n, 255)]
    return np.concatenate([of_images, sum(blocks)]).astype(np.int32) + 1


def unit(rows: Floats) -> Floats:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def embed(population: int, levels: Sequence[float], folder: Path) -> Patients:
    from robustness.embedding import Store, decode_once
    from robustness.encoder import load as load_encoder
    from robustness.evalset import load
    from robustness.perturbation.occlusion import Occlusion
    from robustness.run.subject import Subject

    store = Store(folder)
    subject = Subject(
        load_encoder("robustness.models.phantom:load"),
        decode_once(load(f"phantom:{population}:1"), store),
        positives="identical_text",
        store=store,
        seed=0,
        batch_size=64,
    )
    cases = list(itertools.product(("square", "grid"), ("black", "grey"), levels))
    # Level 0 hides nothing: its four cases are one, and stay four in Holm's count.
    keys = [("clean",) if case[2] == 0 else case for case in cases]
    distinct = list(dict.fromkeys(keys))
    images = []
    for key in distinct:
        pattern, fill, level = key if len(key) == 3 else ("square", "black", 0.0)
        images.append(subject.images(Occlusion(pattern, level, fill))[0])
    everything = np.concatenate([images[0], subject.reports])
    _, directions = np.linalg.eigh(everything.T @ everything)
    kept = directions[:, ::-1][:, :DIMENSIONS]
    return Patients(
        [unit(rows @ kept) for rows in images],
        unit(subject.reports @ kept),
        subject.matching.text_of_image,
        tuple(distinct.index(key) for key in keys),
    )


def near_identity(rng: np.random.Generator, scale: float) -> Floats:
    noise = rng.normal(size=(DIMENSIONS, DIMENSIONS)) * scale / np.sqrt(DIMENSIONS)
    return (np.eye(DIMENSIONS) + noise).astype(np.float32)


def model(rng: np.random.Generator, patients: Patients, scale: float) -> Patients:
    return patients.mapped(near_identity(rng, scale), near_identity(rng, scale))


def halved(patients: Patients) -> Patients:
    """The same model, its embeddings in half precision."""
    return Patients(
        [rows.astype(np.float16).astype(np.float32) for rows in patients.images],
        patients.reports.astype(np.float16).astype(np.float32),
        patients.text,
        patients.case_of,
    )


# --- comparing, as robustness.regression does ----------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """Per cluster and distinct case: log rank terms and hit@10 terms; McNemar's counts."""

    terms: Values  # [C, distinct]
    hits: Values  # [C, distinct], a hit lost counts above 0
    lost: Values  # [C, 2 distinct]: queries that lost, or gained, a hit, by direction
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
        """Baseline and candidate swapped in the clusters marked."""
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
    def known(self) -> dict[int, float]:
        return {}

    def p(self, k: int) -> float:
        """The p-value of a distinct case, exact where it matters.

        P(T >= z sd) is at most exp(-z^2 / 2) (Hoeffding), so a large z is rejected in any
        case; and one below 2.5 has no p near alpha / 32, nor near alpha.
        """
        if k not in self.known:
            bound = float(np.exp(-(self.z[k] ** 2) / 2))
            certain = bound <= ALPHA / len(self.case_of)
            self.known[k] = 1.0 if self.z[k] < 2.5 else bound if certain else tail(self.terms[:, k])
        return self.known[k]

    def regressed(self, margin: float, alpha: float = ALPHA) -> bool:
        """Whether Holm rejects, over all the cases, one whose drop exceeds the margin."""
        by_z = np.argsort(-self.z)
        dropped = [k for k in by_z if self.drops[k] > margin and self.z[k] >= 2.5]
        if not dropped:
            return False
        # Most are settled at Holm's first step, which needs no other p-value.
        first = alpha / len(self.case_of)
        if any(self.p(k) <= first for k in dropped[:3]):
            return True
        return bool(len(self.failing(margin, alpha)))

    def failing(self, margin: float, alpha: float = ALPHA) -> NDArray[np.int64]:
        """The cases, of all 32, that fail."""
        p = np.array([self.p(k) for k in range(len(self.z))])[self.case_of]
        return np.flatnonzero((holm(p) <= alpha) & (self.drops[self.case_of] > margin))

    def regressed_alone(self, k: int, margin: float, alpha: float = ALPHA) -> bool:
        """The same where only case k drops: Holm's first step is all there is."""
        return self.drops[k] > margin and self.p(k) <= alpha / len(self.case_of)

    @cached_property
    def mcnemar(self) -> Values:
        """Exact one-sided p-values, a case: the smaller of the two directions', doubled."""
        lost, gained = self.lost.sum(0), self.gained.sum(0)
        p = stats.binom.sf(lost - 1, lost + gained, 0.5)
        return np.minimum(2 * p.reshape(2, -1).min(0), 1)
