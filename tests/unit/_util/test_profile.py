"""Time profile: every second counts exactly once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustness._util import profile
from robustness._util.profile import (
    FORWARD,
    IMAGES,
    OF_IMAGES,
    PHASES,
    RANKING,
    STORE,
    Phase,
    Profile,
    added,
)


class Clock:
    """A clock that the test sets."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def passes(self, seconds):
        self.now += seconds


def made():
    clock = Clock()
    return Profile(clock=clock), clock


def seconds(measured):
    return {name: phase.seconds for name, phase in measured.phases.items()}


def test_a_phase_counts_its_time_and_its_items():
    measured, clock = made()
    for items in (3, 4):
        with measured.phase(RANKING, items):
            clock.passes(1.5)
        clock.passes(10)
    assert measured.rounded() == {"ranking": Phase(3.0, 7)}


def test_an_inner_phase_takes_its_time_from_the_outer_one():
    measured, clock = made()
    with measured.phase(STORE):
        clock.passes(1)
        with measured.phase(IMAGES, 8):
            clock.passes(2)
            with measured.phase(RANKING):
                clock.passes(4)
        clock.passes(8)
        with measured.phase(STORE, 1):
            clock.passes(16)
    assert seconds(measured) == {STORE: 25, IMAGES: 2, RANKING: 4}
    assert measured.phases[STORE].items == 1


def test_a_failing_phase_counts_its_time_and_no_items():
    measured, clock = made()

    def fails():
        with measured.phase(STORE, 1):
            clock.passes(1)
            with measured.phase(IMAGES, 5):
                clock.passes(2)
                raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fails()
    assert measured.rounded() == {IMAGES: Phase(2.0, 0), STORE: Phase(1.0, 0)}
    with measured.phase(STORE, 1):
        clock.passes(1)
    assert measured.phases[STORE].seconds == 2, "the next phase is none of the failed one's"


trees = st.recursive(
    st.builds(lambda s: (s, []), st.integers(0, 1000)),
    lambda inner: st.tuples(st.integers(0, 1000), st.lists(inner, max_size=4)),
    max_leaves=20,
)


@given(st.lists(st.tuples(st.sampled_from(PHASES), trees), max_size=5), st.data())
def test_phases_add_up_to_what_was_spent_in_them(outermost, data):
    """With any nesting and any names."""
    measured, clock = made()

    def run(name, tree):
        own, inner = tree
        with measured.phase(name, 1):
            clock.passes(own)
            for each in inner:
                run(data.draw(st.sampled_from(PHASES)), each)

    def size(tree):
        return 1 + sum(size(each) for each in tree[1])

    spent = 0.0
    for name, tree in outermost:
        before = clock.now
        run(name, tree)
        spent += clock.now - before
        clock.passes(7)
    assert sum(seconds(measured).values()) == pytest.approx(spent)
    assert all(own >= 0 for own in seconds(measured).values())
    assert sum(p.items for p in measured.phases.values()) == sum(size(t) for _, t in outermost)


def test_profiles_of_processes_are_added_in_the_order_of_a_run():
    first = {RANKING: Phase(1.5, 3), STORE: Phase(0.25, 0)}
    second = {IMAGES: Phase(2.0, 64), RANKING: Phase(0.5, 4)}
    whole = added([first, second, {}])
    expected = {IMAGES: Phase(2.0, 64), STORE: Phase(0.25, 0), RANKING: Phase(2.0, 7)}
    assert list(whole.items()) == list(expected.items())
    assert added([]) == {}


def test_phases_are_in_the_order_of_a_run():
    names = {value for name, value in vars(profile).items() if name.isupper() and value in PHASES}
    assert names == set(PHASES)
    assert len(set(PHASES)) == len(PHASES)
    assert set(FORWARD) | set(OF_IMAGES) <= set(PHASES)
