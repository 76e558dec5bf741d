"""Sign-flip p-values against enumeration, scipy and Monte Carlo; Holm against the closed test."""

from __future__ import annotations

import itertools
import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustness.regression import holm, sign_flip_test
from robustness.regression._signflip import _fraction_up_to, whole_steps


def alone(values):
    """Test with every difference as its own cluster."""
    return sign_flip_test(values, range(len(values)))


def enumerated(values):
    """Return the fraction of all 2^C sign patterns with at least the observed sum, unrounded."""
    sums = np.zeros(1)
    for size in np.abs(values):
        sums = np.concatenate([sums + size, sums - size])
    observed = float(np.sum(values))
    return float(np.mean(sums >= observed - 1e-9 * np.abs(values).sum()))


@pytest.mark.parametrize("seed", range(40))
def test_as_enumeration_of_few_clusters(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(0.4, 1, int(rng.integers(1, 16))) * 10.0 ** rng.integers(-8, 8)
    assert alone(values) == pytest.approx(enumerated(values), rel=1e-12)


@pytest.mark.parametrize("worse", [12, 15, 17, 19])
def test_as_enumeration_of_a_million_signs(worse):
    """Skewed sizes: p from .2 to 1e-5."""
    sizes = np.random.default_rng(1).exponential(size=20)
    values = np.where(np.arange(20) < worse, sizes, -sizes)
    assert alone(values) == pytest.approx(enumerated(values), rel=2e-3)


def test_as_enumeration_of_log_ranks_with_their_ties():
    """Bitwise for the rounded sums; log 2 + log 3 may differ from log 6 by rounding."""
    rng = np.random.default_rng(2)
    for _ in range(20):
        before, after = rng.integers(1, 7, (2, 14))
        values = np.log(after / before)
        p = alone(values)
        assert p == enumerated(whole_steps(values).astype(float))
        beyond = enumerated(-values)
        assert (1 - beyond) * 0.999 <= p <= enumerated(values) * 1.001


def test_as_scipys_permutation_test():
    from scipy import stats

    rng = np.random.default_rng(3)
    for n in (5, 9, 11):
        baseline, candidate = rng.normal(size=n), rng.normal(0.7, 1, n)
        theirs = stats.permutation_test(
            (candidate, baseline),
            lambda x, y, axis: np.sum(x - y, axis=axis),
            permutation_type="samples",
            alternative="greater",
            n_resamples=np.inf,
        )
        assert alone(candidate - baseline) == pytest.approx(theirs.pvalue, rel=1e-12)


@pytest.mark.parametrize(
    ("worse", "n"), [(1, 1), (3, 5), (50, 100), (83, 100), (300, 510), (1760, 3000)]
)
def test_binomial_if_all_sizes_are_equal(worse, n):
    from scipy import stats

    values = np.where(np.arange(n) < worse, 0.37, -0.37)
    exact = stats.binomtest(worse, n, alternative="greater").pvalue
    assert alone(values) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("z", [3, 4, 5, 6])
def test_tails_to_1e_9_on_a_lattice_in_whole_numbers(z):
    """Sizes 1 to 8: subsets counted with Python integers."""
    rng = np.random.default_rng(z)
    sizes = rng.integers(1, 9, 120)
    signs = rng.choice([-1, 1], 120)
    # Flip signs to + until the sum is z standard deviations above 0.
    for i in range(120):
        if (signs * sizes).sum() >= z * math.sqrt((sizes**2).sum()):
            break
        signs[i] = 1
    counts = {0: 1}
    for size in sizes.tolist():
        added = {total + size: n for total, n in counts.items()}
        counts = {t: counts.get(t, 0) + added.get(t, 0) for t in counts.keys() | added.keys()}
    negative = int(sizes[signs < 0].sum())
    exact = float(Fraction(sum(n for t, n in counts.items() if t <= negative), 2**120))
    assert exact < 2e-3
    assert alone(signs * sizes) == pytest.approx(exact, rel=1e-12)
    assert alone(signs * sizes * 0.1) == pytest.approx(exact, rel=1e-12)


def test_as_random_flips_of_many_clusters():
    """2^20 flips of 300 log rank differences, at p near 1e-3: within four standard errors."""
    rng = np.random.default_rng(4)
    values = np.log(rng.integers(1, 60, 300) / rng.integers(1, 60, 300))
    values += 3.1 * values.std() / math.sqrt(300) - values.mean()
    flips = 2**20
    reached = 0
    for _ in range(64):
        bits = np.unpackbits(rng.integers(0, 256, (flips // 64, 38), dtype=np.uint8), axis=1)
        subset = bits[:, :300].astype(np.float32) @ np.abs(values).astype(np.float32)
        reached += int((2 * subset - np.abs(values).sum() >= values.sum()).sum())
    p = alone(values)
    assert 3e-4 < p < 3e-3
    assert reached / flips == pytest.approx(p, abs=4 * math.sqrt(p / flips))


@pytest.mark.parametrize("n", [100, 600])
def test_rounding_to_steps_moves_small_p_values_by_a_few_percent(n):
    """Compared with steps four times as fine."""
    rng = np.random.default_rng(n)
    values = np.log(rng.integers(1, 60, n) / rng.integers(1, 60, n))
    values += 4.0 * values.std() / math.sqrt(n) - values.mean()
    steps = whole_steps(values)
    size = np.abs(values).sum() / np.abs(steps).sum()
    assert np.abs(steps - values / size).max() < 0.55
    fine = np.rint(values / size * 4).astype(int)
    negative = int(-fine[fine < 0].sum())
    exact = _fraction_up_to(np.sort(np.abs(fine)), negative)
    assert 1e-6 < exact < 1e-3
    assert alone(values) == pytest.approx(exact, rel=0.08)


def test_level_is_kept_at_every_alpha():
    """Of all 2^10 flips of one sample, at most a fraction alpha has p <= alpha."""
    sizes = np.random.default_rng(6).exponential(size=10)
    p = np.array([alone(sizes * signs) for signs in itertools.product((-1, 1), repeat=10)])
    for alpha in np.unique(p):
        assert np.mean(p <= alpha) <= alpha


def test_the_extremes():
    assert alone(np.full(10, 0.3)) == 2.0**-10
    assert alone(np.full(10, -0.3)) == 1
    assert alone(np.zeros(7)) == 1
    assert alone([1.0]) == 0.5
    assert alone([1.0, -1.0]) == 0.75
    assert 0 < alone(np.ones(3000)) < 1e-300
    assert alone([1e308, 1e308, 1e308]) == alone([1e-308, 1e-308, 1e-308]) == 0.125


def test_clusters_flip_as_a_whole():
    values = [0.1, 0.2, -0.3, 1.0, 1.0, 1.0]
    # The first cancels up to rounding; the second is one cluster of three.
    assert sign_flip_test(values, list("aaabbb")) == 0.5
    assert sign_flip_test(values, list("aaabcd")) == 0.125
    assert sign_flip_test(values[:3], list("aaa")) == 1


@pytest.mark.parametrize("n", range(40, 60))
def test_sizes_in_ratios_of_small_integers_keep_them(n):
    steps = whole_steps(0.1 * np.repeat([3, 4, 5, 6], n))
    assert (steps.reshape(4, n) * 3 == steps[0] * np.array([[3], [4], [5], [6]])).all()


@pytest.mark.parametrize("smallest", [1e-12, 1e-3, 0.02, 0.1, 1])
@pytest.mark.parametrize("n", [2, 100, 1500])
def test_steps_are_fine_and_not_too_many(smallest, n):
    sizes = np.random.default_rng(9).uniform(smallest, 1, n)
    sizes[0] = smallest
    steps = whole_steps(sizes)
    assert np.abs(steps / steps.sum() - sizes / sizes.sum()).max() < 0.6 / steps.sum() + 1e-4 / n
    assert 64 * n <= steps.sum() * 1.01 <= 2.1 * max(64 * n, 2**17)


def test_zeros_change_nothing():
    values = np.random.default_rng(7).normal(0.3, 1, 40)
    assert alone(values) == alone(np.concatenate([np.zeros(500), values]))


@given(
    st.lists(st.integers(-50, 50), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
)
def test_invariant_to_order_names_and_scale(values, random):
    p = alone(np.array(values, dtype=float))
    shuffled = list(values)
    random.shuffle(shuffled)
    names = [f"patient {i}" for i in range(len(values))]
    assert sign_flip_test(shuffled, names) == p
    assert alone(np.array(values) * 2.0**-20) == p
    # Sums equal to the observed one count on both sides, so the two p-values exceed 1.
    assert p + alone(-np.array(values, dtype=float)) >= 1


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=20), st.integers(0, 19))
def test_a_worse_sign_never_raises_p(values, at):
    at %= len(values)
    worse = list(values)
    worse[at] = abs(worse[at])
    assert alone(worse) <= alone(values)


@pytest.mark.parametrize(
    ("values", "clusters", "message"),
    [
        ([], [], "shape [0]"),
        ([[1.0]], [0], "shape [1, 1]"),
        ([1.0, 2.0], [0], "1 clusters for 2 differences"),
        ([1.0, np.nan], [0, 1], "difference 1 is nan"),
        ([np.inf, 0.0], [0, 1], "difference 0 is inf"),
    ],
)
def test_invalid_differences_are_rejected(values, clusters, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        sign_flip_test(values, clusters)


# --- Holm ------------------------------------------------------------------------------


def closed_test(p):
    """Return the adjusted p-values of the closed test with Bonferroni in every intersection."""
    m = len(p)
    subsets = [s for k in range(1, m + 1) for s in itertools.combinations(range(m), k)]
    return [max(min(1, len(s) * min(p[j] for j in s)) for s in subsets if i in s) for i in range(m)]


@given(st.lists(st.sampled_from([0.0, 1e-9, 0.001, 0.01, 0.02, 0.3, 0.5, 1.0]), max_size=7))
def test_holm_is_the_closed_test(p):
    assert holm(p).tolist() == pytest.approx(closed_test(p), rel=1e-12)


def test_holm_as_in_statsmodels():
    """``multipletests(method="holm")``: sorted, times m - arange(m), running maximum, capped."""
    p = np.random.default_rng(8).random(32) ** 3
    order = np.argsort(p)
    theirs = np.maximum.accumulate(p[order] * np.arange(32, 0, -1))
    assert holm(p)[order].tolist() == np.minimum(theirs, 1).tolist()
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_holm_keeps_order_and_ties_and_is_between_p_and_bonferroni(p):
    p = np.array(p)
    adjusted = holm(p)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(len(p) * p, 1)).all()
    order = np.argsort(p)
    assert (np.diff(adjusted[order]) >= 0).all()
    for value in p:
        assert len(set(adjusted[p == value])) == 1


@pytest.mark.parametrize(
    ("p", "message"),
    [([0.1, np.nan], "p-value 1 is nan"), ([-0.1], "p-value 0 is -0.1"), ([2], "0 is 2.0")],
)
def test_holm_rejects_invalid_p_values(p, message):
    with pytest.raises(ValueError, match=message):
        holm(p)
