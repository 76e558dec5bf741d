"""Releases that a gate judges: candidates as good as their baselines, and worse by a known drop."""

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
"""The share of false alarms that the rival rules are set to under exchangeable models."""

FIXED = 0.08
"""The fixed threshold on the drop of hit@10 of others."""

PATIENTS: list[Patients] = []
"""The population, once in every process."""


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
"""Margins and family-wise levels of the gate, the default first."""

RULES = (
    "gate",
    "gate, margin .5",
    "gate, no margin",
    f"gate, level {ALLOWED:g}",
    "McNemar, Holm",
    "drop > 8",
)


def verdicts(found: Compared) -> NDArray[np.bool_]:
    """Whether a run fails, by rule."""
    mcnemar = holm(found.mcnemar[found.case_of]).min() <= ALLOWED
    gates = [found.regressed(*gate) for gate in GATES]
    return np.array([*gates, mcnemar, found.drops.max() > FIXED])


@dataclass
class Tally:
    """Runs that failed, by rule, and how far candidates fell short of their baselines."""

    fails: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(RULES), dtype=np.int64))
    releases: int = 0
    drop: float = 0.0
    largest: float = 0.0
    hits: dict[int, Values] = field(default_factory=dict)  # [models, cases] a block
    failed: list[tuple[int, int, int, list[int]]] = field(default_factory=list)
    """Block, the models of a pair, and the cases in which it failed."""

    def see(self, found: Compared, *names: int) -> None:
        fails = verdicts(found)
        if fails[0] and names:
            self.failed.append((*names, found.failing(MARGIN).tolist()))
        self.fails += fails
        self.releases += 1
        drops = found.drops[found.case_of]
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
        """Of the drop between two models, were patients without number: from two sets of them.

        What a model's hits on two sets of patients have in common is the model's own.
        """
        shared = [
            np.mean([np.cov(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True)])
            for a, b in itertools.combinations(self.hits.values(), 2)
        ]
        return float(np.sqrt(2 * max(np.mean(shared), 0)))

    def confirmed(self) -> int:
        """Failed pairs that drop beyond the margin among other patients, in a case that failed."""
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
    """Two equally perturbed models, swapped at random, cluster by cluster, in all the cases."""
    part = blocks(PATIENTS[0], sizes.few)[block]
    found = Compared.of(part, *(model(rng, part, scale).ranks() for _ in range(2)))
    tally = Tally()
    for _ in range(-(-sizes.swaps // 6)):
        tally.see(found.flipped(rng.random(len(found.terms)) < 0.5))
    return tally


def fresh(rng: np.random.Generator, sizes: Sizes, scale: float, *, half: bool) -> Tally:
    """New patients and new models for every release."""
    tally = Tally()
    for _ in range(sizes.releases // 10):
        some = PATIENTS[0].take(rng.permutation(len(PATIENTS[0]))[: sizes.fresh])
        baseline = model(rng, some, scale)
        candidate = halved(baseline) if half else model(rng, some, scale)
        tally.see(Compared.of(some, baseline.ranks(), candidate.ranks()))
    return tally


def pairs(rng: np.random.Generator, sizes: Sizes, scale: float, block: int) -> Tally:
    """Every ordered pair of some models, each pair on one of the blocks of patients."""
    parts = blocks(PATIENTS[0], sizes.few)
    part = parts[block]
    ranks = [model(rng, part, scale).ranks() for _ in range(sizes.models)]
    hits = [((r <= 10) * part.share).sum(1)[list(part.case_of)] for r in ranks]
    tally = Tally(hits={block: np.stack(hits)})
    for i, j in itertools.permutations(range(sizes.models), 2):
        if (i + j) % len(parts) == block:
            tally.see(Compared.of(part, ranks[i], ranks[j]), block, i, j)
    return tally


# --- power -----------------------------------------------------------------------------------


def power(
    rng: np.random.Generator, sizes: Sizes, n: int, target: float, kind: str
) -> dict[str, NDArray[np.int64]]:
    """Runs that fail, by rule, where the candidate's hit@10 is lower by exactly a target.

    The patients at hand are the population: they answer in galleries of n, and the
    degradation is scaled, in each case by itself, until hit@10 is lower by the target over
    all of them. A run draws as many clusters as a gallery has, with replacement.
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

        def answer(scale: float, k=k, clean=clean, noise=noise) -> float:
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
            low, high = (middle, high) if answer(middle) < target else (low, middle)
        answer(high)
    found = Compared.joined(
        [Compared.of(*each) for each in zip(parts, baselines, degraded, strict=True)]
    )
    return {"drop": 100 * found.drops[found.case_of] / len(parts)} | draw(
        rng, found, round(len(found.terms) / len(parts)), sizes.runs // 2
    )


def draw(
    rng: np.random.Generator, found: Compared, clusters: int, runs: int
) -> dict[str, NDArray[np.int64]]:
    tuned = tune(rng, found, clusters)
    fails = np.zeros((2, len(POWER_RULES)), dtype=np.int64)
    first = ALLOWED / len(found.case_of)
    for _ in range(runs):
        run = found.take(rng.integers(0, len(found.terms), clusters))
        fails[0] += [*verdicts(run), run.drops.max() > tuned]
        k = int(rng.choice(run.case_of))
        gates = [run.regressed_alone(k, *gate) for gate in GATES]
        fixed = [run.drops[k] > FIXED, run.drops[k] > tuned]
        fails[1] += [*gates, run.mcnemar[k] <= first, *fixed]
    return {"fails": fails, "runs": np.array(runs), "tuned": np.array(100 * tuned)}


def tune(rng: np.random.Generator, found: Compared, clusters: int) -> float:
    """The fixed threshold on the drop that .001 of the runs exceed under random swaps."""
    largest = []
    for _ in range(20):
        hits = found.hits[rng.integers(0, len(found.hits), clusters)]
        signs = rng.choice(np.array([-1, 1], dtype=np.float32), (500, clusters))
        largest.append((signs @ hits.astype(np.float32)).max(1))
    return float(np.quantile(np.concatenate(largest), 1 - ALLOWED))


POWER_RULES = (*RULES, "drop > tuned")
