"""One case of two models beside each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from robustness.paired._answers import Answers, Clusters, Values
from robustness.paired._signflip import cluster_sums, tail

NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """A candidate beside a baseline in one case, the directions weighing equally.

    Attributes:
        n: How many queries, by direction.
        clusters: How many clusters.
        drops: By how much hit@10 fell, by direction, as a fraction; below 0 where it rose.
        drop: The mean over the directions.
        standard_error: Of ``drop``: the jackknife over clusters; inf for a single cluster.
        granule: The sum of the squared weights of the clusters, 1 / C where they are equal.
        shift: The mean rise of the log rank, the mean over the directions.
        flip_error: The standard deviation of ``shift`` under sign flips.
        hit: The baseline's hit@10, the mean over the directions.
        fall: The rise of the log rank that would cost half of the baseline's hits, the mean
            over the directions; 0 where there is none to lose.
        p: One-sided, that the candidate is worse: :func:`sign_flip_test` of the log ranks.
        adjusted_p: The same by Holm over the cases of a run, once they are known.
    """

    n: dict[str, int]
    clusters: int
    drops: dict[str, float]
    drop: float
    standard_error: float
    granule: float
    shift: float
    flip_error: float
    hit: float
    fall: float
    p: float
    adjusted_p: float | None = None

    def limits(self, confidence: float = 0.95) -> tuple[float, float]:
        """The two-sided confidence limits of the drop; for one alone, ask half the error."""
        reach = self._reach(NORMAL.inv_cdf((1 + confidence) / 2))
        return max(self.drop - reach, -1.0), min(self.drop + reach, 1.0)

    def upper_limit(self, error: float) -> float:
        """What the drop exceeds with a probability of ``error``, below .5, at most."""
        return min(self.drop + self._reach(-NORMAL.inv_cdf(error)), 1.0)

    def _reach(self, z: float) -> float:
        """How far a limit lies from the estimate.

        A score interval: at a limit x away the variance is not the one observed, but that
        plus ``granule * x``, as if a share x more of the patients had been lost outright.
        So x solves ``x^2 = z^2 (se^2 + granule x)``. Where no query changed, se is 0 and a
        drop up to z^2 / C is still not excluded; the usual z se would exclude all of them.
        """
        if math.isinf(self.standard_error):
            return math.inf
        half = z * z * self.granule / 2
        return half + math.hypot(half, z * self.standard_error)


def compare_case(
    baseline: Mapping[str, Answers],
    candidate: Mapping[str, Answers],
    clusters: Mapping[str, Clusters],
) -> PairedComparison:
    """Compares the answers of two models to the same queries under one occlusion.

    With x the rise of a query's log rank, N queries of images and M of texts, the test's
    statistic is ``T = (sum of x over images / N + sum of x over texts / M) / 2``, which is
    the mean of the directions' means; the sum of a cluster's terms is what flips. The drop
    of hit@10 has the same form, so that test and estimate weigh every query alike.

    Args:
        baseline: By direction.
        candidate: The same directions and queries.
        clusters: int64, the cluster of each query, by direction; :func:`query_clusters`.

    Raises:
        ValueError: Directions or lengths differ, there is no query, or a value is not
            finite or out of range: which one is said.
    """
    _check(baseline, candidate, clusters)
    names = sorted(baseline)
    _, joined = np.unique(np.concatenate([clusters[d] for d in names]), return_inverse=True)
    ends = np.cumsum([len(clusters[d]) for d in names])
    of = dict(zip(names, np.split(joined, ends[:-1]), strict=True))
    rises = {d: candidate[d].log_rank - baseline[d].log_rank for d in names}
    losses = {d: baseline[d].hit - candidate[d].hit for d in names}
    share = {d: np.full(len(of[d]), 1 / (len(of[d]) * len(names))) for d in names}
    terms = cluster_sums(np.concatenate([rises[d] * share[d] for d in names]), joined)
    weights = np.bincount(joined, weights=np.concatenate([share[d] for d in names]))
    drops = {d: float(losses[d].mean()) for d in names}
    return PairedComparison(
        n={d: len(of[d]) for d in names},
        clusters=len(terms),
        drops=drops,
        drop=math.fsum(drops.values()) / len(names),
        standard_error=_jackknife(losses, of, len(terms)),
        granule=float((weights**2).sum()),
        shift=float(terms.sum()),
        flip_error=float(np.sqrt((terms**2).sum())),
        hit=math.fsum(float(baseline[d].hit.mean()) for d in names) / len(names),
        fall=math.fsum(_fall(baseline[d]) for d in names) / len(names),
        p=tail(terms),
    )


def _jackknife(losses: Mapping[str, Values], of: Mapping[str, Clusters], n: int) -> float:
    """The standard error of the mean of the directions' means, leaving out a cluster at a time.

    Efron and Stein (1981): never too small in expectation, and right for a cluster that is
    a large part of the whole, where residuals about the mean are too small.
    """
    if n == 1:
        return math.inf
    without = np.zeros(n)
    for direction, values in losses.items():
        total = np.bincount(of[direction], weights=values - values.mean(), minlength=n)
        left = len(values) - np.bincount(of[direction], minlength=n)
        # A cluster that holds all of a direction's queries leaves no mean to look at.
        if not left.all():
            return math.inf
        without -= total / left / len(losses)
    return math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))


def _fall(answers: Answers) -> float:
    """How far half of the hits stand from the cutoff, or nearer, in log rank."""
    edge = math.log(answers.cutoff + 0.5)
    hits = answers.log_rank[answers.log_rank <= edge]
    return edge - float(np.median(hits)) if len(hits) else 0.0


def _check(
    baseline: Mapping[str, Answers],
    candidate: Mapping[str, Answers],
    clusters: Mapping[str, Clusters],
) -> None:
    if not baseline or not (baseline.keys() == candidate.keys() == clusters.keys()):
        raise ValueError(
            f"directions differ: baseline {sorted(baseline)}, candidate {sorted(candidate)},"
            f" clusters {sorted(clusters)}; all three need the same, at least one"
        )
    for direction, cluster in clusters.items():
        for who, answers in (("baseline", baseline), ("candidate", candidate)):
            named = {"log rank": answers[direction].log_rank, "hit@10": answers[direction].hit}
            for what, values in named.items():
                where = f"{who} {direction} {what}"
                if values.shape != (len(cluster),) or not len(cluster):
                    raise ValueError(
                        f"{where} has shape {list(values.shape)} for {len(cluster)} queries;"
                        " there is one value a query, and at least one query"
                    )
                most = 1 if what == "hit@10" else math.inf
                bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0) & (values <= most)))
                if bad.size:
                    raise ValueError(
                        f"{where} of query {bad[0]} is {values[bad[0]]}, one of {bad.size} values"
                        f" that are not finite or not from 0 to {most}"
                    )
