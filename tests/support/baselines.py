"""Shared by the tests of baselines."""

from __future__ import annotations

import numpy as np

from robustness.metrics.rank_counts import RankCounts
from robustness.regression.baseline import Key, ModelRun, Run, differences

DIRECTIONS = ("image_to_report", "report_to_image")


def counts(n, gallery, seed):
    rng = np.random.default_rng(seed)
    greater = rng.integers(0, gallery - 1, n)
    one = np.ones(n, np.int64)
    return RankCounts(greater, 0 * one, one, one, greater, 0 * one, gallery)


def model_run(n=7, seed=0, levels=(0.0, 0.3)):
    texts = np.array([*range(n - 1), 0])
    sizes = dict(zip(DIRECTIONS, (n, n - 1), strict=True))
    ranks = {
        Key("square", "black", level, d): counts(sizes[d], n, [seed, i, int(10 * level)])
        for level in levels
        for i, d in enumerate(DIRECTIONS)
    }
    measured_on = {"images and reports": "abc", "text policy": {"sections": ["findings"]}}
    return ModelRun(f"weights-{seed}", measured_on, tuple(f"p{i}" for i in range(n)), texts, ranks)


def make_run(**models):
    protocol = {"evalset": "phantom:7", "positives": "identical_text", "seed": 0}
    return Run(protocol, models or {"phantom": model_run()}, {"device": ["cpu"]})


def assert_equal_runs(one, other):
    assert one.protocol == other.protocol
    assert one.environment == other.environment
    assert one.models.keys() == other.models.keys()
    for name, model in one.models.items():
        loaded = other.models[name]
        assert model.fingerprint == loaded.fingerprint
        assert not differences(one, other, name)
        for key, ranks in model.ranks.items():
            for part, array in ranks.arrays().items():
                assert np.array_equal(array, loaded.ranks[key].arrays()[part])
            assert ranks.gallery_size == loaded.ranks[key].gallery_size
