"""Tests of CXR-CLIP's files: allowed content, refusals, and the search for a checkpoint."""

from __future__ import annotations

import sys

import pytest
from support import cxr_clip_cases, published
from support.clinical_cases import build, small_case
from support.cxr_clip_cases import LOADER

from robustness.encoder import load
from robustness.errors import WeightsError, WeightsNotFoundError


@pytest.fixture(scope="module")
def swin(tmp_path_factory):
    return small_case(cxr_clip_cases, "swin", tmp_path_factory.mktemp("swin"))


def test_the_published_file_needs_no_omegaconf(swin):
    import torch

    assert "omegaconf" not in sys.modules
    with pytest.raises(Exception, match="omegaconf"):
        torch.load(swin.path, weights_only=True)
    # The result has all tensors of the model and none of the optimizer.
    from robustness.models import _checkpoint

    assert _checkpoint.read(swin.path).state.keys() == swin.state.keys()


def test_a_plain_state_dict_is_taken(swin, tmp_path):
    import torch

    torch.save(swin.state, tmp_path / "plain.pt")
    encoder = build("cxr_clip", tmp_path / "plain.pt", swin.vocabulary, "swin")
    assert encoder.fingerprint == swin.encoder.fingerprint
    assert encoder.details["weights_sha256"] != swin.encoder.details["weights_sha256"]


def test_keys_of_a_newer_transformers_are_taken(swin, tmp_path):
    import torch
    from transformers import SwinModel

    prefix = "image_encoder.image_encoder."
    tower = swin.encoder.network.image_encoder["image_encoder"]
    assert isinstance(tower, SwinModel)
    state = {key: value for key, value in swin.state.items() if not key.startswith(prefix)}
    state |= {f"{prefix}{key}": value for key, value in tower.state_dict().items()}
    torch.save(state, tmp_path / "new.pt")
    encoder = build("cxr_clip", tmp_path / "new.pt", swin.vocabulary, "swin")
    assert encoder.fingerprint == swin.encoder.fingerprint


def test_one_changed_weight_changes_the_fingerprint(swin, tmp_path):
    state = dict(swin.state)
    key = "text_encoder.text_encoder.encoder.layer.3.output.dense.bias"
    state[key] = state[key].clone()
    state[key][0] += 1e-3
    path = published.cxr_clip_tar(tmp_path / "changed.tar", state)
    assert build("cxr_clip", path, swin.vocabulary, "swin").fingerprint != swin.encoder.fingerprint


def test_missing_weights(monkeypatch):
    monkeypatch.delenv("ROBUSTNESS_WEIGHTS", raising=False)
    with pytest.raises(WeightsNotFoundError, match="CXR-CLIP.*swint_mcc.tar.*https.*CC BY-NC"):
        load(LOADER)


def test_the_folder_of_weights_is_searched(swin, tmp_path, monkeypatch):
    monkeypatch.setenv("ROBUSTNESS_WEIGHTS", str(tmp_path))
    (tmp_path / "swint_m.tar").symlink_to(swin.path)
    with pytest.raises(WeightsNotFoundError, match="r50_mcc.tar"):
        load(LOADER, variant="resnet")
    # The file is found; the vocabulary is refused.
    with pytest.raises(WeightsError, match="vocab.txt"):
        load(LOADER, tokenizer=swin.vocabulary)
