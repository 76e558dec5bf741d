"""Speed of ranking in both directions."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.benchmark

ITEMS = 10_000


def test_both_directions(timed, device):
    from ranking import embeddings

    from robustness.ranking import rank_both

    images, reports = embeddings(ITEMS, device)
    positives = np.arange(ITEMS)
    counts, _ = timed(rank_both, images, reports, positives, positives, items=2 * ITEMS, rounds=3)
    assert len(counts) == ITEMS
