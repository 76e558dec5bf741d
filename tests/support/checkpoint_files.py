"""Helpers for tests of checkpoints: a state dict, and reading of files."""

from __future__ import annotations

from collections import OrderedDict

import pytest

from robustness.errors import WeightsError


def random_state():
    """Return a seeded state dict with every dtype, shape and kind of view."""
    import torch

    generator = torch.Generator().manual_seed(4)
    matrix = torch.randn(6, 5, generator=generator)
    state = OrderedDict(
        matrix=matrix,
        turned=matrix.T,
        part=matrix[1:3, ::2],
        half=torch.randn(7, generator=generator).half(),
        bfloat=torch.randn(7, generator=generator).bfloat16(),
        double=torch.randn(2, 2, generator=generator).double(),
        whole=torch.tensor([3, -4]),
        flags=torch.tensor([True, False]),
        scalar=torch.tensor(2.5),
        none=torch.zeros(0, 4),
        parameter=torch.nn.Parameter(torch.ones(3)),
    )
    state._metadata = OrderedDict({"": {"version": 1}})
    return state


def read(path):
    from robustness.models import _checkpoint

    return _checkpoint.read(path)


def assert_same(state, expected):
    import torch

    assert list(state) == list(expected)
    for key, tensor in expected.items():
        assert state[key].dtype == tensor.dtype, key
        assert torch.equal(state[key], tensor), key


def refusal(path):
    """Return the one-line error of a file that is refused."""
    with pytest.raises(WeightsError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message
