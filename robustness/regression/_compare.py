"""Paired comparison of two models under one perturbation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from robustness.metrics.rank_counts import Values
from robustness.regression._answers import Answers, Clusters
from robustness.regression._signflip import cluster_sums, tail

NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """A candidate compared with a baseline; all means give both directions equal weight.

    Attributes:
        n: Number of queries, by direction.
        clusters: Number of clusters C.
        drops: Drop of hit@k by direction, as a fraction; negative if it rose.
        drop: The mean of ``drops``.
        standard_error: Jackknife standard error of ``drop`` over clusters; inf for one cluster.
        sum_squared_weights: Sum of the squared cluster weights, 1 / C if they are equal.
        log_rank_rise: Mean rise of the log rank.
        flip_standard_error: Standard deviation of ``log_rank_rise`` under sign flips.
        baseline_hit: The baseline's mean hit@k.
        half_loss_rise: Rise of the log rank that would cost half of the baseline's hits; 0 if
            the baseline has none.
        p: One-sided p-value for a worse candidate, from the sign-flip test
            (:func:`robustness.regression.sign_flip_test`) of the log ranks.
        adjusted_p: ``p`` adjusted by Holm over all comparisons of a run; None until adjusted.
    """

    n: dict[str, int]
    clusters: int
    drops: dict[str, float]
    drop: float
    standard_error: float
    sum_squared_weights: float
    log_rank_rise: float
    flip_standard_error: float
    baseline_hit: float
    half_loss_rise: float
    p: float
    adjusted_p: float | None = None

    def limits(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the two-sided confidence limits of the drop."""
        reach = self._reach(NORMAL.inv_cdf((1 + confidence) / 2))
        return max(self.drop - reach, -1.0), min(self.drop + reach, 1.0)

    def upper_limit(self, error: float) -> float:
        """Return the one-sided upper confidence limit of the drop at level ``1 - error``."""
        return min(self.drop + self._reach(-NORMAL.inv_cdf(error)), 1.0)

    def _reach(self, z: float) -> float:
        """Return the distance of a limit from the estimate (a score interval).

        With w = ``sum_squared_weights``, the variance at a limit x away is the observed one
        plus w x, as if a further fraction x of the clusters were lost outright. So x solves
        ``x^2 = z^2 (se^2 + w x)``. If no query changed, se is 0 and a drop up to z^2 / C is
        not excluded; a Wald interval (z se) would exclude every drop.
        """
        if math.isinf(self.standard_error):
            return math.inf
        half = z * z * self.sum_squared_weights / 2
        return half + math.hypot(half, z * self.standard_error)


def compare_answers(
    baseline: Mapping[str, Answers],
    candidate: Mapping[str, Answers],
    clusters: Mapping[str, Clusters],
) -> PairedComparison:
    """Compare two models' results for the same queries under one perturbation.

    With x the rise of a query's log rank, N image queries and M text queries, the test
    statistic is ``T = (sum of x over images / N + sum of x over texts / M) / 2``, the mean of
    the directions' means; a sign flip applies to the sum of a cluster's terms. The drop of
    hit@k has the same form, so test and estimate weight every query equally.

    Args:
        baseline: Results by direction.
        candidate: Results by direction, for the same queries.
        clusters: int64, the cluster of each query by direction, from
            :func:`robustness.regression.query_clusters`.

    Raises:
        ValueError: If directions or lengths differ, there is no query, or a value is not
            finite or out of range.

    Example:
        >>> good = Answers(log_rank=np.zeros(4), hit=np.ones(4))
        >>> bad = Answers(log_rank=np.full(4, 3.0), hit=np.zeros(4))
        >>> clusters = {"image_to_report": np.arange(4)}
        >>> found = compare_answers({"image_to_report": good}, {"image_to_report": bad}, clusters)
        >>> found.drop, found.p
        (1.0, 0.0625)
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
        sum_squared_weights=float((weights**2).sum()),
        log_rank_rise=float(terms.sum()),
        flip_standard_error=float(np.sqrt((terms**2).sum())),
        baseline_hit=math.fsum(float(baseline[d].hit.mean()) for d in names) / len(names),
        half_loss_rise=math.fsum(_half_loss_rise(baseline[d]) for d in names) / len(names),
        p=tail(terms),
    )


def _jackknife(losses: Mapping[str, Values], of: Mapping[str, Clusters], n: int) -> float:
    """Return the jackknife standard error over clusters of the mean of the directions' means.

    It is never too small in expectation (Efron and Stein 1981), and correct for a cluster that
    is a large part of the whole, for which residuals about the mean are too small.
    """
    if n == 1:
        return math.inf
    without = np.zeros(n)
    for direction, values in losses.items():
        total = np.bincount(of[direction], weights=values - values.mean(), minlength=n)
        left = len(values) - np.bincount(of[direction], minlength=n)
        # Without a cluster that contains all queries of a direction there is no mean.
        if not left.all():
            return math.inf
        without -= total / left / len(losses)
    return math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))


def _half_loss_rise(answers: Answers) -> float:
    """Return the median distance of the hits to the cutoff, in log rank."""
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
            f" clusters {sorted(clusters)}; all three must have the same, at least one"
        )
    for direction, cluster in clusters.items():
        for model, answers in (("baseline", baseline), ("candidate", candidate)):
            named = {"log rank": answers[direction].log_rank, "hit@10": answers[direction].hit}
            for name, values in named.items():
                where = f"{model} {direction} {name}"
                if values.shape != (len(cluster),) or not len(cluster):
                    raise ValueError(
                        f"{where} has shape {list(values.shape)} for {len(cluster)} queries;"
                        " one value per query and at least one query are required"
                    )
                highest = 1 if name == "hit@10" else math.inf
                bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0) & (values <= highest)))
                if bad.size:
                    raise ValueError(
                        f"{where} of query {bad[0]} is {values[bad[0]]}, one of {bad.size} values"
                        f" that are not finite or not from 0 to {highest}"
                    )
