"""Properties that no model could break are reported as vacuous, with the reason."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustness.perturbation.strategies import occlusions
from robustness.plan import PROPERTIES
from robustness.run.vacuity import blind_upper_bound, vacuous_reason
from robustness.thresholds import Bound, Properties

HIT = Bound("hit@10", at_least=True, limit=0.3, line=1)
RECALL = Bound("recall@5", at_least=True, limit=0.3, line=1)
RANK = Bound("median_rank", at_least=False, limit=9, line=1)


@pytest.fixture
def subject(imported_package, store):
    """The reference encoder on the first images of the built-in set."""
    from robustness.embedding import Store
    from robustness.embedding.dataset import EmbeddingSettings
    from robustness.evalset import load as load_evalset
    from robustness.models.phantom import load
    from robustness.run.subject import Subject

    def of(images):
        return Subject(
            load(),
            load_evalset(f"phantom:{images}"),
            EmbeddingSettings(Store(store)),
            positives="pair",
            seed=0,
        )

    return of


def why(subject, name, *, subset=64, **given_):
    properties = Properties(**{"bound": HIT, "subset": subset, **given_})
    n = len(subject.evalset)
    size = min(n, subset)
    return vacuous_reason(subject, properties, name, [i * n // size for i in range(size)])


@pytest.mark.parametrize("name", PROPERTIES)
def test_the_defaults_can_be_broken(subject, name):
    assert why(subject(24), name) == ""


@pytest.mark.parametrize(
    ("images", "name", "given_", "text"),
    [
        (24, "bound", {"max_level": 0.009}, "max_level is 0.009 and levels are tried in whole"),
        (24, "bound", {"max_level": 0}, "nothing would be hidden"),
        (10, "bound", {}, "hit@10 among 10 reports is the same for every model"),
        (5, "bound", {"bound": RECALL}, "recall@5 among 5 reports is the same"),
        (1, "bound", {"bound": RANK}, "median_rank among 1 report is the same"),
        (10, "nested", {}, "hit@10 among 10 reports is the same for every model"),
        (24, "nested", {"noise": 1}, "noise is 1, and hit@10 cannot rise by more"),
        (24, "chance", {"subset": 10}, "hit@10 on 10 images can be 1.000 without sight and 0.1"),
        (24, "chance", {"subset": 20, "noise": 0.5}, "can be 0.500 without sight and 0.5 more"),
        (24, "independence", {"tolerance": 1}, "tolerance is 1, and the embeddings of different"),
        (1, "independence", {}, "differ by 0 at most"),
    ],
)
def test_vacuous_properties_are_reported(subject, images, name, given_, text):
    assert text in why(subject(images), name, **given_)


@pytest.mark.parametrize(
    ("images", "name", "given_"),
    [
        (24, "bound", {"max_level": 0.01}),
        (11, "bound", {}),
        (6, "bound", {"bound": RECALL}),
        (2, "bound", {"bound": RANK}),
        (11, "nested", {"noise": 0.99}),
        (24, "chance", {"subset": 12}),
        (24, "chance", {"subset": 20, "noise": 0.49}),
        (24, "independence", {"tolerance": 0.01}),
    ],
)
def test_breakable_properties_are_not_vacuous(subject, images, name, given_):
    assert why(subject(images), name, **given_) == ""


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_the_blind_upper_bound_is_that_of_the_best_constant_answer(text):
    """The ten most frequent reports for every image; any ten images for every report."""
    n, times = len(text), Counter(text)
    most_frequent = sum(sorted(times.values())[-10:]) / n
    anywhere = np.mean(
        [1 - math.comb(n - m, 10) / max(math.comb(n, 10), 1) for m in times.values()]
    )
    found = blind_upper_bound(np.array(text))
    assert found["image to report"] == pytest.approx(most_frequent)
    assert found["report to image"] == pytest.approx(anywhere if n > 10 else 1)


@given(occlusions(levels=(0.29, 0.29)))
def test_the_highest_level_is_tried(occlusion):
    """0.29 * 100 is slightly below 29."""
    assert occlusion.level == 0.29
