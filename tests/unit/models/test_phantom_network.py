"""Tests of the reference encoder's towers, trained and fused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustness.models._checkpoint import read
from robustness.models._phantom_network import PIXELS, Network, Vocabulary
from robustness.models.phantom import WEIGHTS, _words


@pytest.fixture(scope="module")
def trained():
    """Return the network in its trained form."""
    checkpoint = read(WEIGHTS)
    network = Network(len(Vocabulary(_words(checkpoint)))).eval()
    network.load_state_dict(checkpoint.state, strict=False)
    return network


@pytest.fixture(scope="module")
def fused(trained):
    return trained.fused()


@torch.inference_mode()
def test_fused_towers_embed_as_the_trained_ones_do(trained, fused):
    pixels = torch.randn(5, 1, PIXELS, PIXELS, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[2, 3, 4], [5, 0, 0]])
    torch.testing.assert_close(fused.image(pixels), trained.image(pixels), rtol=1e-4, atol=1e-4)
    assert torch.equal(fused.text(ids), trained.text(ids))


def test_fusing_leaves_no_batch_norm_and_the_trained_towers_as_they_are(trained, fused):
    def norms(network):
        return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())

    assert (norms(trained), norms(fused)) == (10, 0)
    assert trained.stored().keys() == Network(9).stored().keys()
