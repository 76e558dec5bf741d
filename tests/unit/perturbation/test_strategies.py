"""The search draws every level, and does not depend on the user's code."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from robustness.perturbation.strategies import MIN_LEVEL, N_SEEDS, occlusions


def drawn(strategy, examples=300):
    found = []

    @seed(0)
    @settings(max_examples=examples, database=None, deadline=None, phases=(Phase.generate,))
    @given(strategy)
    def collect(value):
        found.append(value)

    collect()
    return found


@pytest.mark.parametrize(("low", "high"), [(MIN_LEVEL, 0.29), (0.5, 0.5), (1.0, 1.0), (0.0, 0.1)])
def test_every_whole_percent_of_a_range_is_drawn(low, high):
    found = drawn(occlusions(levels=(low, high)))
    percents = range(round(100 * low), round(100 * high) + 1)
    assert {occlusion.level for occlusion in found} == {percent / 100 for percent in percents}
    assert all(0 <= occlusion.seed < N_SEEDS for occlusion in found)


def test_numbers_in_a_user_s_modules_change_nothing(tmp_path, monkeypatch):
    """Hypothesis draws constants that it finds in local modules."""
    searched, any_number = occlusions(levels=(MIN_LEVEL, 1.0)), st.integers(0, 2**32)
    before, swayed = drawn(searched), drawn(any_number)
    # Hypothesis skips a module with too many constants.
    numbers = [*range(100, 200), *range(2**31, 2**32, 2**25)]
    (tmp_path / "some_numbers.py").write_text(f"FOUND = {numbers}\nSHARES = [0.01, 0.5, 1.0]\n")
    monkeypatch.syspath_prepend(tmp_path)
    import some_numbers

    assert numbers == some_numbers.FOUND
    assert drawn(any_number) != swayed, "it has not read them"
    assert drawn(searched) == before
