"""Tests of CXR-CLIP's files: allowed content, refusals, and the search for a checkpoint."""

from __future__ import annotations

import sys

import pytest
from support import published
from support.cxr_clip_cases import LOADER, build, small_case

from robustness.encoder import load
from robustness.errors import UsageError, WeightsError, WeightsNotFoundError


@pytest.fixture(scope="module", params=["swin", "resnet"])
def case(request, tmp_path_factory):
    return small_case(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def swin(tmp_path_factory):
    return small_case("swin", tmp_path_factory.mktemp("swin"))


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
    encoder = build(tmp_path / "plain.pt", swin.vocabulary, "swin")
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
    encoder = build(tmp_path / "new.pt", swin.vocabulary, "swin")
    assert encoder.fingerprint == swin.encoder.fingerprint


def test_one_changed_weight_changes_the_fingerprint(swin, tmp_path):
    state = dict(swin.state)
    key = "text_encoder.text_encoder.encoder.layer.3.output.dense.bias"
    state[key] = state[key].clone()
    state[key][0] += 1e-3
    path = published.cxr_clip_tar(tmp_path / "changed.tar", state)
    assert build(path, swin.vocabulary, "swin").fingerprint != swin.encoder.fingerprint


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state.pop("logit_scale"), "1 missing keys ['logit_scale']"),
        (lambda state: state.update(extra=state["logit_scale"]), "1 unexpected ['extra']"),
    ],
    ids=["missing", "unexpected"],
)
def test_a_checkpoint_that_does_not_fit(swin, tmp_path, change, reason):
    state = dict(swin.state)
    change(state)
    path = published.cxr_clip_tar(tmp_path / "changed.tar", state)
    with pytest.raises(WeightsError) as caught:
        build(path, swin.vocabulary, "swin")
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_model_and_the_wrong_variant(case, tmp_path):
    words = published.write_full_vocabulary(tmp_path / "full.txt")
    other = {"swin": "resnet", "resnet": "swin"}[case.variant]
    with pytest.raises(
        WeightsError, match=f"image tower is {case.variant}, not {other} as requested"
    ):
        load(LOADER, weights=case.path, tokenizer=words, variant=other)
    medclip = published.medclip_zip(tmp_path / "medclip.zip", {"x": case.state["logit_scale"]})
    with pytest.raises(WeightsError, match=r"another model: no key is image_encoder"):
        load(LOADER, weights=medclip, tokenizer=words)


def test_files_that_cannot_be_used(swin, tmp_path, monkeypatch):
    words = published.write_full_vocabulary(tmp_path / "full.txt")
    short = tmp_path / "short.tar"
    short.write_bytes(swin.path.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match="short.tar.*truncated"):
        load(LOADER, weights=short, tokenizer=words)
    with pytest.raises(WeightsError, match="is a directory"):
        load(LOADER, weights=tmp_path, tokenizer=words)
    with pytest.raises(WeightsError, match="entries, the text tower 28,996"):
        load(LOADER, weights=swin.path, tokenizer=swin.vocabulary)
    monkeypatch.delenv("ROBUSTNESS_WEIGHTS", raising=False)
    with pytest.raises(WeightsNotFoundError, match="CXR-CLIP.*swint_mcc.tar.*https.*CC BY-NC"):
        load(LOADER)
    with pytest.raises(UsageError, match="no option 'colour'; it takes tokenizer, variant"):
        load(LOADER, weights=swin.path, colour="blue")


def test_the_folder_of_weights_is_searched(swin, tmp_path, monkeypatch):
    monkeypatch.setenv("ROBUSTNESS_WEIGHTS", str(tmp_path))
    (tmp_path / "swint_m.tar").symlink_to(swin.path)
    with pytest.raises(WeightsNotFoundError, match="r50_mcc.tar"):
        load(LOADER, variant="resnet")
    # The file is found; the vocabulary is refused.
    with pytest.raises(WeightsError, match="vocab.txt"):
        load(LOADER, tokenizer=swin.vocabulary)
