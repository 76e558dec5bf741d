"""Shared by the tests of measured records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from robustness.encoder import TextPolicy
from robustness.ranking import rank_counts
from robustness.records import (
    CaseRecord,
    EvaluationSetProtocol,
    ModelProtocol,
    Protocol,
    Queries,
    Ranking,
)
from support.baselines import DIRECTIONS


def several(seed=0, n=5):
    """Return rank counts of queries with one to three positives each."""
    rng = np.random.default_rng(seed)
    positives = [rng.choice(9, 1 + q % 3, replace=False) for q in range(n)]
    return rank_counts(rng.integers(0, 5, (n, 9)), np.eye(9), positives)


def record(model="phantom", levels=(0.0,), fingerprint="abc", **changes):
    """Return a case as the gate reports it, with the ranks of both directions."""
    evalset = EvaluationSetProtocol("phantom:5", "s", 5, 5, 5, {}, {})
    policy = TextPolicy(("findings",), 160, "cut")
    own = ModelProtocol(model, "my:load", fingerprint, 8, policy, {}, {}, 5, 5, {})
    return replace(
        CaseRecord(
            case=f"{model}-square-{levels[0]:g}",
            measurements=(),
            protocol=Protocol(evalset, own),
            ranks=tuple(
                Ranking("square", "black", level, direction, several(int(100 * level)))
                for level in levels
                for direction in DIRECTIONS
            ),
            queries=Queries({"set": "s"}, tuple("abcde"), (0, 1, 2, 3, 4)),
        ),
        **changes,
    )
