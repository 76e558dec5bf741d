"""What a search draws: every level, and the same whatever code lies beside it."""

from __future__ import annotations

import sys

import pytest
from hypothesis import Phase, given, seed, settings

from robustness.strategies import LEAST, SEEDS, occlusions


def drawn(levels, examples=300):
    found = []

    @seed(0)
    @settings(max_examples=examples, database=None, deadline=None, phases=(Phase.generate,))
    @given(occlusions(levels=levels))
    def collect(occlusion):
        found.append(occlusion)

    collect()
    return found


@pytest.mark.parametrize(("low", "high"), [(LEAST, 0.29), (0.5, 0.5), (1.0, 1.0), (0.0, 0.1)])
def test_every_whole_percent_of_a_range_is_drawn(low, high):
    found = drawn((low, high))
    percents = range(round(100 * low), round(100 * high) + 1)
    assert {occlusion.level for occlusion in found} == {percent / 100 for percent in percents}
    assert {occlusion.seed for occlusion in found} <= set(range(SEEDS))


def test_numbers_in_a_user_s_modules_change_nothing(tmp_path, monkeypatch):
    """Hypothesis reads the modules that are not installed, and draws what numbers it finds."""
    before = drawn((LEAST, 1.0))
    numbers = [*range(200), *range(10**5, 10**6, 999), *range(2**31, 2**32, 2**22)]
    (tmp_path / "many_numbers.py").write_text(f"FOUND = {numbers}\nSHARES = [0.01, 0.5, 1.0]\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "many_numbers", raising=False)
    import many_numbers

    assert len(many_numbers.FOUND) == len(numbers)
    assert drawn((LEAST, 1.0)) == before
