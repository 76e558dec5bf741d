"""Simulated releases: candidates as good as their baselines, or worse by a known drop."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from simulated import DIMENSIONS, LEVELS, Compared, Patients, Values, halved, model, rank, unit

from robustness.regression import holm
from robustness.thresholds import ALPHA, MARGIN

ALLOWED = 0.001
"""False alarm rate of the alternative rules with exchangeable models."""

FIXED = 0.08
"""Fixed threshold on the drop of hit@10, an alternative rule."""

PATIENTS: list[Patients] = []
"""The population, set in each process."""


@dataclass(frozen=True)
class Sizes:
    population: int = 3000
    few: int = 1000
    many: int = 3000
    fresh: int = 300
    swaps: int = 20_000
    releases: int = 5000
    models: int = 72
    runs: int = 1000
    levels: tuple[float, ...] = LEVELS


QUICK = Sizes(120, 60, 120, 40, 300, 60, 6, 40, (0.0, 0.5))


# --- false alarms ----------------------------------------------------------------------------

GATES = (
    (MARGIN, ALPHA),
    (MARGIN / 2, ALPHA),
    (-np.inf, ALPHA),
    (MARGIN, ALLOWED),
)
"""Margins and family-wise levels of the gate; the first is the default."""

RULES = (
    "gate",
    "gate, margin .5",
    "gate, no margin",
    f"gate, level {ALLOWED:g}",
    "McNemar, Holm",
    "drop > 8",
)


def failures(compared: Compared) -> NDArray[np.bool_]:
    """Return whether a run fails, by rule."""
    mcnemar = holm(compared.mcnemar[compared.case_of]).min() <= ALLOWED
    gates = [compared.regressed(*gate) for gate in GATES]
    return np.array([*gates, mcnemar, compared.drops.max() > FIXED])


@dataclass
class Tally:
    """Failed runs by rule, and the drops of the candidates."""

    fails: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(RULES), dtype=np.int64))
    releases: int = 0
    drop: float = 0.0
    largest: float = 0.0
    hits: dict[int, Values] = field(default_factory=dict)  # [models, cases] a block
    failed: list[tuple[int, int, int, list[int]]] = field(default_factory=list)
    """Block, models of a pair, and the cases in which it failed."""

    def add(self, compared: Compared, *names: int) -> None:
        fails = failures(compared)
        if fails[0] and names:
            self.failed.append((*names, compared.failing(MARGIN).tolist()))
        self.fails += fails
        self.releases += 1
        drops = compared.drops[compared.case_of]
        self.drop += np.abs(drops).mean()
        self.largest += drops.max()

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.fails + other.fails,
            self.releases + other.releases,
            self.drop + other.drop,
            self.largest + other.largest,
            self.hits | other.hits,
            self.failed + other.failed,
        )

    def true_deviation(self) -> float:
        """Estimate the standard deviation of the drop between two models for infinite patients.

        The covariance of a model's hits on two sets of patients is the variance of the model.
        """
        shared = [
            np.mean([np.cov(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True)])
            for a, b in itertools.combinations(self.hits.values(), 2)
        ]
        return float(np.sqrt(2 * max(np.mean(shared), 0)))

    def confirmed(self) -> int:
        """Count failed pairs whose failed cases also drop by more than the margin on others."""
        count = 0
        for block, i, j, cases in self.failed:
            others = np.mean([hits for b, hits in self.hits.items() if b != block], axis=0)
            count += (others[i] - others[j])[cases].max() > MARGIN
        return count

    def cells(self) -> list[str]:
        failed, n = int(self.fails[0]), self.releases
        upper = stats.beta.ppf(0.95, failed + 1, n - failed) if failed < n else 1.0
        paired = len(self.hits) > 1
        return [
            f"{n}",
            f"{100 * self.drop / n:.2f}",
            f"{100 * self.largest / n:.2f}",
            f"{100 * self.true_deviation():.2f}" if paired else "",
            f"{failed}",
            f"{failed / n:.4f}",
            f"{upper:.4f}",
            f"{self.confirmed()}" if paired else "",
            *(f"{fails / n:.4f}" for fails in self.fails[1:]),
        ]


def blocks(patients: Patients, n: int) -> list[Patients]:
    starts = range(0, len(patients) - n + 1, n)
    return [patients.take(np.arange(start, start + n)) for start in starts]


def swaps(rng: np.random.Generator, sizes: Sizes, scale: float, block: int) -> Tally:
    """Compare two equally perturbed models, swapped at random by cluster, in all cases."""
    part = blocks(PATIENTS[0], sizes.few)[block]
    compared = Compared.of(part, *(model(rng, part, scale).ranks() for _ in range(2)))
    tally = Tally()
    for _ in range(-(-sizes.swaps // 6)):
        tally.add(compared.flipped(rng.random(len(compared.terms)) < 0.5))
    return tally


def fresh(rng: np.random.Generator, sizes: Sizes, scale: float, *, half: bool) -> Tally:
    """Compare new models on new patients for every release."""
    tally = Tally()
    for _ in range(sizes.releases // 10):
        patients = PATIENTS[0].take(rng.permutation(len(PATIENTS[0]))[: sizes.fresh])
        baseline = model(rng, patients, scale)
        candidate = halved(baseline) if half else model(rng, patients, scale)
        tally.add(Compared.of(patients, baseline.ranks(), candidate.ranks()))
    return tally


def pairs(rng: np.random.Generator, sizes: Sizes, scale: float, block: int) -> Tally:
    """Compare every ordered pair of some models, each on one of the blocks of patients."""
    parts = blocks(PATIENTS[0], sizes.few)
    part = parts[block]
    ranks = [model(rng, part, scale).ranks() for _ in range(sizes.models)]
    hits = [((r <= 10) * part.share).sum(1)[list(part.case_of)] for r in ranks]
    tally = Tally(hits={block: np.stack(hits)})
    for i, j in itertools.permutations(range(sizes.models), 2):
        if (i + j) % len(parts) == block:
            tally.add(Compared.of(part, ranks[i], ranks[j]), block, i, j)
    return tally


# --- power -----------------------------------------------------------------------------------


def power(
    rng: np.random.Generator, sizes: Sizes, n: int, target: float, kind: str
) -> dict[str, NDArray[np.int64]]:
    """Count failed runs by rule if the candidate's hit@10 is lower by exactly a target.

    The patients are the population, in galleries of n. The degradation is scaled in each case
    until hit@10 over all of them is lower by the target. A run draws as many clusters as a
    gallery has, with replacement.
    """
    parts = blocks(PATIENTS[0], n)
    baselines = [part.ranks() for part in parts]
    turn = rng.normal(size=(DIMENSIONS, DIMENSIONS)) / np.sqrt(DIMENSIONS)
    degraded = [np.empty_like(ranks) for ranks in baselines]
    for k in range(len(parts[0].images)):
        clean = [part.images[k] for part in parts]
        noise = [
            rows @ turn.astype(np.float32)
            if kind == "map"
            else (rng.normal(size=rows.shape) / np.sqrt(DIMENSIONS)).astype(np.float32)
            for rows in clean
        ]

        def drop_at(scale: float, k=k, clean=clean, noise=noise) -> float:
            drop = 0.0
            for i, part in enumerate(parts):
                images = unit(clean[i] + np.float32(scale) * noise[i])
                degraded[i][k] = rank(images, part.reports, part.text)
                lost = (baselines[i][k] <= 10).astype(float) - (degraded[i][k] <= 10)
                drop += float((lost * part.share).sum()) / len(parts)
            return drop

        low, high = 0.0, 4.0
        for _ in range(13):
            middle = (low + high) / 2
            low, high = (middle, high) if drop_at(middle) < target else (low, middle)
        drop_at(high)
    compared = Compared.joined(
        [Compared.of(*each) for each in zip(parts, baselines, degraded, strict=True)]
    )
    return {"drop": 100 * compared.drops[compared.case_of] / len(parts)} | draw(
        rng, compared, round(len(compared.terms) / len(parts)), sizes.runs // 2
    )


def draw(
    rng: np.random.Generator, compared: Compared, clusters: int, runs: int
) -> dict[str, NDArray[np.int64]]:
    tuned = tune(rng, compared, clusters)
    fails = np.zeros((2, len(POWER_RULES)), dtype=np.int64)
    first_step = ALLOWED / len(compared.case_of)  # of Holm's correction
    for _ in range(runs):
        run = compared.take(rng.integers(0, len(compared.terms), clusters))
        fails[0] += [*failures(run), run.drops.max() > tuned]
        k = int(rng.choice(run.case_of))
        gates = [run.regressed_alone(k, *gate) for gate in GATES]
        fixed = [run.drops[k] > FIXED, run.drops[k] > tuned]
        fails[1] += [*gates, run.mcnemar[k] <= first_step, *fixed]
    return {"fails": fails, "runs": np.array(runs), "tuned": np.array(100 * tuned)}


def tune(rng: np.random.Generator, compared: Compared, clusters: int) -> float:
    """Return the threshold on the drop that .001 of the runs exceed under random swaps."""
    largest = []
    for _ in range(20):
        hits = compared.hits[rng.integers(0, len(compared.hits), clusters)]
        signs = rng.choice(np.array([-1, 1], dtype=np.float32), (500, clusters))
        largest.append((signs @ hits.astype(np.float32)).max(1))
    return float(np.quantile(np.concatenate(largest), 1 - ALLOWED))


POWER_RULES = (*RULES, "drop > tuned")
