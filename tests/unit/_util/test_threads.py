"""Thread pool map: ordered, with as many threads as torch."""

from __future__ import annotations

import os
import threading

import pytest

from robustness._util.threads import each, wait_briefly
from robustness.embedding._ahead import ahead


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, ("PASSIVE", "3000")),
        ({"GOMP_SPINCOUNT": "7"}, ("PASSIVE", "7")),
        ({"OMP_WAIT_POLICY": "active"}, ("active", None)),
    ],
)
def test_threads_wait_briefly_unless_the_environment_sets_a_policy(monkeypatch, before, after):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    wait_briefly()
    assert tuple(map(os.environ.get, ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"))) == after


@pytest.fixture(params=[1, 3])
def threads(request):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("n", [0, 1, 2, 50])
def test_results_are_in_order(threads, n):
    assert each(lambda x: x * x, iter(range(n))) == [x * x for x in range(n)]


def test_the_number_of_threads_is_that_of_torch(threads):
    together = threading.Barrier(threads, timeout=20)

    def meet(_item):
        together.wait()
        return threading.get_ident()

    found = set(each(meet, range(threads)))
    assert len(found) == threads
    assert (threading.get_ident() in found) == (threads == 1)


def test_the_error_of_the_first_failing_item_is_raised(threads):
    def fail(item):
        if item % 5 == 3:
            raise ValueError(f"item {item}")
        return item

    with pytest.raises(ValueError, match="^item 3$"):
        each(fail, range(20))


@pytest.mark.parametrize("background", [False, True])
def test_items_of_any_type_come_in_order(background):
    items = [None, 0, [], (), "x"]
    assert list(ahead(items, background=background)) == items
    assert list(ahead([], background=background)) == []


def test_one_item_is_made_ahead_in_one_other_thread():
    made, makers, second = [], set(), threading.Event()

    def items():
        for number in range(5):
            made.append(number)
            makers.add(threading.get_ident())
            if number == 1:
                second.set()
            yield number

    coming = ahead(items(), background=True)
    assert next(coming) == 0
    assert second.wait(20), "the next item is made while the first is worked on"
    assert 2 not in made, "and none beyond it"
    assert list(coming) == [1, 2, 3, 4]
    assert len(makers) == 1
    assert threading.get_ident() not in makers


@pytest.mark.parametrize("background", [False, True])
def test_a_failure_is_raised_for_its_item(background):
    def items():
        yield 0
        raise ValueError("item 1")

    coming = ahead(items(), background=background)
    assert next(coming) == 0
    with pytest.raises(ValueError, match="item 1"):
        next(coming)


def test_an_abandoned_iteration_leaves_no_thread():
    before = threading.active_count()
    coming = ahead(range(9), background=True)
    assert next(coming) == 0
    coming.close()
    assert threading.active_count() == before
