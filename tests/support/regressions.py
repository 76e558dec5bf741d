"""Shared by the tests of regressions."""

from __future__ import annotations

import numpy as np

from robustness.metrics.rank_counts import RankCounts
from robustness.regression.baseline import Key, ModelRun, Run
from support.baselines import DIRECTIONS

N = 1000


LEVELS = (0.0, 0.3)


def ranked(greater):
    one = np.ones(len(greater), np.int64)
    return RankCounts(greater, 0 * one, one, one, greater, 0 * one, len(greater))


def a_run(worsen=0.0, seed=1, levels=LEVELS, n=N):
    """Return a run: a fraction of the ranks leaves the first ten, the rest moves by at most 1."""
    rng = np.random.default_rng(0)
    base = {
        Key("square", "black", level, d): rng.geometric(0.15, n).clip(1, n - 1) - 1
        for level in levels
        for d in DIRECTIONS
    }
    moved = np.random.default_rng(seed)
    ranks = {}
    for key, greater in base.items():
        jittered = np.clip(greater + moved.integers(-1, 2, n), 0, n - 1)
        worse = (moved.random(n) < worsen) & (jittered < 10)
        ranks[key] = ranked(np.where(worse, jittered + 15, jittered))
    own = ModelRun(f"weights {seed}", {"set": "s"}, tuple(map(str, range(n))), np.arange(n), ranks)
    return Run({"positives": "identical_text"}, {"phantom": own})
