"""Tests of MedCLIP's files: allowed content, refusals, and details in the result."""

from __future__ import annotations

import zipfile

import pytest
from support import published
from support.medclip_cases import LOADER, build, small_case
from support.published import SMALL
from support.reference_towers import TEXTS, difference

from robustness.encoder import load
from robustness.errors import UsageError, WeightsError, WeightsNotFoundError


@pytest.fixture(scope="module", params=["swin", "resnet"])
def case(request, tmp_path_factory):
    return small_case(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def swin(tmp_path_factory):
    return small_case("swin", tmp_path_factory.mktemp("swin"))


def save(folder, state):
    return published.medclip_zip(folder / "changed.zip", state)


def test_keys_without_weights_are_dropped_by_name(swin, tmp_path):
    dropped = {
        key: tensor
        for key, tensor in swin.state.items()
        if not key.endswith(("position_ids", "relative_position_index"))
    }
    assert len(dropped) < len(swin.state)
    encoder = build(save(tmp_path, dropped), swin.vocabulary, "swin")
    assert encoder.fingerprint == swin.encoder.fingerprint


def test_a_plain_state_dict_and_fp16_are_taken(swin, tmp_path):
    import torch

    half = {
        key: tensor.half() if tensor.is_floating_point() else tensor
        for key, tensor in swin.state.items()
    }
    torch.save(half, tmp_path / "half.bin")
    encoder = build(tmp_path / "half.bin", swin.vocabulary, "swin")
    rows = encoder.encode_reports(TEXTS[:1])
    assert rows.dtype == torch.float32
    assert difference(rows, swin.encoder.encode_reports(TEXTS[:1])) < 0.01
    assert encoder.fingerprint != swin.encoder.fingerprint


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state.pop("logit_scale"), "1 missing keys ['logit_scale']"),
        (lambda state: state.update(extra=state["logit_scale"]), "1 unexpected ['extra']"),
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
    ids=["missing", "unexpected", "bias", "shape", "not finite"],
)
def test_a_checkpoint_that_does_not_fit(swin, tmp_path, change, reason):
    state = dict(swin.state)
    change(state)
    path = save(tmp_path, state)
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
    alien = save(tmp_path, {"visual.proj": case.state["logit_scale"]})
    with pytest.raises(WeightsError, match=r"another model.*it has \['visual.proj'\]"):
        load(LOADER, weights=alien, tokenizer=words)


def test_a_truncated_zip_and_a_directory(swin, tmp_path):
    words = published.write_full_vocabulary(tmp_path / "full.txt")
    short = tmp_path / "short.zip"
    short.write_bytes(swin.path.read_bytes()[:-5000])
    with pytest.raises(WeightsError, match="short.zip.*truncated"):
        load(LOADER, weights=short, tokenizer=words)
    with pytest.raises(WeightsError, match="is a directory"):
        load(LOADER, weights=tmp_path, tokenizer=words)
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
    with pytest.raises(WeightsError, match=r"vocab.txt.* entries, the text tower 28,996"):
        load(LOADER, weights=swin.path, tokenizer=swin.vocabulary)
    (tmp_path / "vocab.txt").write_text("one\ntwo\n")
    with pytest.raises(WeightsError, match="lacks .PAD."):
        load(LOADER, weights=swin.path, tokenizer=tmp_path)
    with pytest.raises(WeightsNotFoundError, match="tokenizer=PATH"):
        load(LOADER, weights=swin.path, tokenizer=tmp_path / "none.txt")


def test_a_vocabulary_from_a_directory_that_transformers_saved(swin, tmp_path):
    from transformers import BertTokenizer

    BertTokenizer(str(swin.vocabulary)).save_pretrained(tmp_path)
    encoder = build(swin.path, tmp_path, "swin")
    assert encoder.fingerprint == swin.encoder.fingerprint


def test_a_vocabulary_in_another_order_changes_the_fingerprint(swin, tmp_path):
    words = swin.vocabulary.read_text(encoding="utf-8").split("\n")
    words[5], words[6] = words[6], words[5]
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    encoder = build(swin.path, tmp_path, "swin")
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
    with pytest.raises(UsageError, match="no option 'colour'; it takes tokenizer, variant"):
        load(LOADER, weights=swin.path, colour="blue")
    with pytest.raises(UsageError, match="padding='some' is not one of masked, upstream"):
        load(LOADER, weights=swin.path, padding="some")
    with pytest.raises(UsageError, match="variant='vit' is not one of swin, resnet"):
        load(LOADER, weights=swin.path, variant="vit")


def test_details_describe_the_model(case):
    import hashlib

    details = case.encoder.details
    assert details["weights_sha256"] == hashlib.sha256(case.path.read_bytes()).hexdigest()
    assert details["variant"] == case.variant
    assert {"source", "licence", "tokenizer_sha256"} <= details.keys()
    assert case.encoder.text_policy.max_tokens == 77


def test_loading_does_not_advance_the_callers_generator(swin):
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build(swin.path, swin.vocabulary, "swin")
    assert torch.equal(torch.rand(3), expected)
