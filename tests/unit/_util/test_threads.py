"""Thread pool map: ordered, with a given number of threads."""

from __future__ import annotations

import os
import threading

import pytest

from robustness._util.threads import each, wait_briefly


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


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("n", [0, 1, 2, 50])
def test_results_are_in_order(threads, n):
    assert each(lambda x: x * x, iter(range(n)), threads=threads) == [x * x for x in range(n)]


@pytest.mark.parametrize("threads", [1, 3])
def test_that_many_threads_run_at_once(threads):
    together = threading.Barrier(threads, timeout=20)

    def meet(_item):
        together.wait()
        return threading.get_ident()

    workers = set(each(meet, range(threads), threads=threads))
    assert len(workers) == threads
    assert (threading.get_ident() in workers) == (threads == 1)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_error_of_the_first_failing_item_is_raised(threads):
    def fail(item):
        if item % 5 == 3:
            raise ValueError(f"item {item}")
        return item

    with pytest.raises(ValueError, match="^item 3$"):
        each(fail, range(20), threads=threads)
