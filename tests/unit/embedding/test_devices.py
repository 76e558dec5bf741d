"""Devices of workers, and their numerical settings."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustness.embedding.devices import assign_device, choose_device, measuring
from robustness.embedding.devices import worker_index as index
from robustness.errors import GateError


@given(st.sampled_from(["auto", "cuda"]), st.integers(0, 200), st.integers(1, 16))
def test_workers_take_the_devices_in_turn(name, worker, count):
    assert assign_device(name, worker, count) == f"cuda:{worker % count}"


def test_workers_share_no_device_if_there_are_enough():
    assert len({assign_device("auto", worker, 8) for worker in range(8)}) == 8


@given(st.integers(0, 200))
def test_without_cuda_auto_is_the_cpu_and_cuda_is_unchanged(worker):
    assert assign_device("auto", worker, 0) == "cpu"
    assert assign_device("cuda", worker, 0) == "cuda"


@given(st.sampled_from(["cpu", "cuda:0", "cuda:3", "mps"]), st.integers(0, 9), st.integers(0, 9))
def test_a_named_device_is_used(name, worker, count):
    assert assign_device(name, worker, count) == name


def test_processes_other_than_workers_have_index_0():
    assert [index(worker) for worker in (None, "", "main", "gw0", "gw12")] == [0, 0, 0, 0, 12]


@pytest.mark.parametrize(
    ("worker", "taken"), [(None, "cuda:0"), ("gw1", "cuda:1"), ("gw2", "cuda:0")]
)
def test_the_worker_is_read_from_the_environment(monkeypatch, worker, taken):
    used = []
    cuda = SimpleNamespace(is_available=lambda: True, device_count=lambda: 2)
    monkeypatch.setattr(torch, "cuda", cuda)
    monkeypatch.setattr(torch, "empty", lambda _size, device: used.append(str(device)))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    if worker:
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
    assert choose_device("auto") == taken
    assert used == [taken]


def test_the_error_of_a_missing_device_names_it_as_given():
    for name in ("cuda:99", "tpu"):
        with pytest.raises(GateError, match=f"device '{name}' cannot be used: .*allowed are auto"):
            choose_device(name)


@pytest.mark.parametrize(("workers", "threads"), [(1, 8), (2, 4), (3, 2), (8, 1), (64, 1)])
def test_workers_share_the_cores(monkeypatch, workers, threads):
    before = torch.get_num_threads()
    given_ = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", given_.append)
    with measuring(workers):
        assert given_ == [threads]
        assert not torch.backends.cudnn.allow_tf32
    assert given_ == [threads, 8]
    monkeypatch.undo()
    assert torch.get_num_threads() == before
