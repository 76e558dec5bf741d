"""Tests of MedCLIP's files: allowed content, refusals, and details in the result."""

from __future__ import annotations

import zipfile

import pytest
from support import medclip_cases, published
from support.clinical_cases import build, small_case
from support.medclip_cases import LOADER
from support.published import SMALL
from support.reference_towers import TEXTS, difference

from robustness.encoder import load
from robustness.errors import UsageError, WeightsError, WeightsNotFoundError


@pytest.fixture(scope="module")
def swin(tmp_path_factory):
    return small_case(medclip_cases, "swin", tmp_path_factory.mktemp("swin"))


def save(folder, state):
    return published.medclip_zip(folder / "changed.zip", state)


def test_keys_without_weights_are_dropped_by_name(swin, tmp_path):
    dropped = {
        key: tensor
        for key, tensor in swin.state.items()
        if not key.endswith(("position_ids", "relative_position_index"))
    }
    assert len(dropped) < len(swin.state)
    encoder = build("medclip", save(tmp_path, dropped), swin.vocabulary, "swin")
    assert encoder.fingerprint == swin.encoder.fingerprint


def test_a_plain_state_dict_and_fp16_are_taken(swin, tmp_path):
    import torch

    half = {
        key: tensor.half() if tensor.is_floating_point() else tensor
        for key, tensor in swin.state.items()
    }
    torch.save(half, tmp_path / "half.bin")
    encoder = build("medclip", tmp_path / "half.bin", swin.vocabulary, "swin")
    rows = encoder.encode_reports(TEXTS[:1])
    assert rows.dtype == torch.float32
    assert difference(rows, swin.encoder.encode_reports(TEXTS[:1])) < 0.01
    assert encoder.fingerprint != swin.encoder.fingerprint


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda state: state.update(
                {"vision_model.projection_head.bias": state["text_model.model.pooler.dense.bias"]}
            ),
            "1 unexpected ['vision_model.projection_head.bias']",
        ),
        (
            lambda state: state.update(
                {"text_model.projection_head.weight": state["logit_scale"].expand(512, 40)}
            ),
            "wrong shapes: text_model.projection_head.weight [512, 40], not [512, 48]",
        ),
        (
            lambda state: state.update(logit_scale=state["logit_scale"] * float("nan")),
            "'logit_scale' contains values that are not finite",
        ),
    ],
    ids=["bias", "shape", "not finite"],
)
def test_a_checkpoint_that_does_not_fit(swin, tmp_path, change, reason):
    state = dict(swin.state)
    change(state)
    path = save(tmp_path, state)
    with pytest.raises(WeightsError) as caught:
        build("medclip", path, swin.vocabulary, "swin")
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_zip_without_weights_is_refused(tmp_path):
    words = published.write_full_vocabulary(tmp_path / "full.txt")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(WeightsError, match="neither data.pkl nor pytorch_model.bin"):
        load(LOADER, weights=tmp_path / "other.zip", tokenizer=words)


def test_weights_that_are_absent_say_where_to_get_them(monkeypatch, tmp_path):
    monkeypatch.delenv("ROBUSTNESS_WEIGHTS", raising=False)
    with pytest.raises(WeightsNotFoundError) as caught:
        load(LOADER)
    for part in ("MedCLIP", "medclip-vit-pretrained.zip", "https://", "licence"):
        assert part in str(caught.value)
    with pytest.raises(WeightsNotFoundError, match="nowhere.zip.*https://"):
        load(LOADER, weights=tmp_path / "nowhere.zip")


def test_vocabularies_that_cannot_be_used(swin, tmp_path):
    (tmp_path / "vocab.txt").write_text("one\ntwo\n")
    with pytest.raises(WeightsError, match="lacks .PAD."):
        load(LOADER, weights=swin.path, tokenizer=tmp_path)
    with pytest.raises(WeightsNotFoundError, match="tokenizer=PATH"):
        load(LOADER, weights=swin.path, tokenizer=tmp_path / "none.txt")


def test_a_vocabulary_from_a_directory_that_transformers_saved(swin, tmp_path):
    from transformers import BertTokenizer

    BertTokenizer(str(swin.vocabulary)).save_pretrained(tmp_path)
    encoder = build("medclip", swin.path, tmp_path, "swin")
    assert encoder.fingerprint == swin.encoder.fingerprint


def test_a_vocabulary_in_another_order_changes_the_fingerprint(swin, tmp_path):
    words = swin.vocabulary.read_text(encoding="utf-8").split("\n")
    words[5], words[6] = words[6], words[5]
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    encoder = build("medclip", swin.path, tmp_path, "swin")
    assert encoder.fingerprint != swin.encoder.fingerprint


@pytest.mark.parametrize("answers", ["the cache", "the hub", "nobody"])
def test_the_hub_is_queried_only_if_its_cache_is_empty(swin, monkeypatch, answers):
    from robustness.models import _bert

    asked = []

    def hub(name, file, *, local_files_only=False):
        assert (name, file) == ("emilyalsentzer/Bio_ClinicalBERT", "vocab.txt")
        asked.append("the cache" if local_files_only else "the hub")
        if asked[-1] != answers:
            raise OSError("not in the cache, no network")
        return str(swin.vocabulary)

    monkeypatch.setattr(_bert, "cached_file", hub)
    if answers == "nobody":
        with pytest.raises(WeightsNotFoundError, match="hub cannot be reached; set tokenizer=PATH"):
            load(LOADER, weights=swin.path)
    else:
        assert _bert.load_tokenizer(None, SMALL.vocabulary, 77)
    assert asked == (["the cache"] if answers == "the cache" else ["the cache", "the hub"])


def test_options_are_checked(swin):
    with pytest.raises(UsageError, match="'colour'; it takes tokenizer, variant, padding"):
        load(LOADER, weights=swin.path, colour="blue")
    with pytest.raises(UsageError, match="padding='some' is not one of masked, upstream"):
        load(LOADER, weights=swin.path, padding="some")
