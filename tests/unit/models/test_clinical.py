"""Tests of MedCLIP and CXR-CLIP: equality with independent references, files and refusals."""

from __future__ import annotations

import hashlib
from importlib import import_module

import pytest
from support import cxr_clip_cases, medclip_cases, published
from support.clinical_cases import build, small_case
from support.embeddings import check_contract
from support.published import FULL
from support.reference_towers import (
    SHAPES,
    Case,
    check_images,
    check_texts,
    difference,
    radiographs,
    token_ids,
)

from robustness.encoder import load
from robustness.errors import UsageError, WeightsError

CASES = {"medclip": medclip_cases, "cxr_clip": cxr_clip_cases}
VARIANTS = ("swin", "resnet")


@pytest.fixture(scope="module", params=CASES)
def cases(request):
    return CASES[request.param]


@pytest.fixture(scope="module", params=VARIANTS)
def case(cases, request, tmp_path_factory):
    return small_case(cases, request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def swin(cases, tmp_path_factory):
    return small_case(cases, "swin", tmp_path_factory.mktemp("swin"))


@pytest.fixture
def full_vocabulary(tmp_path):
    return published.write_full_vocabulary(tmp_path / "full.txt")


# --- equality with the published model ---------------------------------------------------


def test_images_embed_as_published(cases, case):
    shapes = SHAPES[:4] if case.variant == "swin" else SHAPES[:3]
    check_images(case, cases.reference_image, shapes)


def test_a_full_radiograph_embeds_as_published(cases, swin):
    check_images(swin, cases.reference_image, SHAPES[-2:])


def test_texts_embed_as_published(cases, swin):
    check_texts(swin, cases.reference_text)


def test_contract(case):
    check_contract(case.encoder, radiographs(SHAPES[:2]), ["", "x"])
    assert case.encoder.embedding_dim == 512


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_published_size_embeds_as_published(cases, variant, shared, tmp_path):
    vocabulary = shared / "bert_base_cased" / "vocab.txt"
    path, state, towers = cases.prepare(variant, FULL, tmp_path)
    encoder = load(cases.LOADER, weights=path, tokenizer=vocabulary)
    case = Case(encoder, variant, path, state, vocabulary, towers)
    images = check_images(case, cases.reference_image, SHAPES)
    print("images", images, "texts", check_texts(case, cases.reference_text))  # noqa: T201


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_published_key_has_a_parameter(cases, variant):
    import torch

    from robustness.models import _checkpoint, _clinical

    publication = import_module(f"robustness.models.{cases.MODEL}").PUBLICATION
    with torch.device("meta"):
        towers = publication.network(_clinical.Shapes(), variant)
        table = getattr(published, cases.MODEL)(variant, FULL)
        state = {key: torch.empty(shape) for key, shape in table.items()}
    renamed = _checkpoint.rename(state, _clinical.SWIN_RENAMES)
    shapes = {key: tuple(tensor.shape) for key, tensor in towers.state_dict().items()}
    dropped = {key for key in renamed if key not in shapes}
    assert shapes == {key: tuple(renamed[key].shape) for key in renamed if key not in dropped}
    assert {key.rpartition(".")[2] for key in dropped} <= {
        "position_ids",
        "relative_position_index",
    }
    assert len(dropped) == 1 + (12 if variant == "swin" else 0)


# --- known mistakes ----------------------------------------------------------------------


def test_text_is_lower_cased_although_the_vocabulary_is_cased(swin):
    encode = swin.encoder.encode_reports
    assert difference(encode(["HEART Café"]), encode(["heart cafe"])) == 0
    lower = token_ids(swin.vocabulary, "heart", 77)
    assert lower[0, 1] != swin.vocabulary.read_text().split("\n").index("Heart")


def test_batch_norm_is_in_eval_mode(case):
    assert not any(module.training for module in case.encoder.network.modules())


def test_loading_does_not_advance_the_callers_generator(cases, swin):
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build(cases.MODEL, swin.path, swin.vocabulary, "swin")
    assert torch.equal(torch.rand(3), expected)


# --- files -------------------------------------------------------------------------------


def test_details_describe_the_model(cases, case):
    details = case.encoder.details
    assert details["weights_sha256"] == hashlib.sha256(case.path.read_bytes()).hexdigest()
    assert details["variant"] == case.variant
    assert {"source", "licence", "tokenizer_sha256"} <= details.keys()
    assert case.encoder.text_policy.max_tokens == {"medclip": 77, "cxr_clip": 256}[cases.MODEL]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state.pop("logit_scale"), "1 missing keys ['logit_scale']"),
        (lambda state: state.update(extra=state["logit_scale"]), "1 unexpected ['extra']"),
    ],
    ids=["missing", "unexpected"],
)
def test_a_checkpoint_with_other_keys_is_refused(cases, swin, tmp_path, change, reason):
    state = dict(swin.state)
    change(state)
    path = cases.write(tmp_path / "changed", state)
    with pytest.raises(WeightsError) as caught:
        build(cases.MODEL, path, swin.vocabulary, "swin")
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_variant_and_another_model_are_refused(cases, case, tmp_path, full_vocabulary):
    other = {"swin": "resnet", "resnet": "swin"}[case.variant]
    message = f"image tower is {case.variant}, not {other} as requested"
    with pytest.raises(WeightsError, match=message):
        load(cases.LOADER, weights=case.path, tokenizer=full_vocabulary, variant=other)
    alien = cases.write(tmp_path / "alien", {"visual.proj": case.state["logit_scale"]})
    prefix = {"medclip": "vision_model", "cxr_clip": "image_encoder"}[cases.MODEL]
    message = rf"another model: no key is {prefix}.*it has \['visual.proj'\]"
    with pytest.raises(WeightsError, match=message):
        load(cases.LOADER, weights=alien, tokenizer=full_vocabulary)


@pytest.mark.parametrize("end", [100_000, -5000])
def test_a_truncated_file_is_refused(cases, swin, tmp_path, full_vocabulary, end):
    short = tmp_path / "short.bin"
    short.write_bytes(swin.path.read_bytes()[:end])
    with pytest.raises(WeightsError, match=r"short\.bin.*truncated"):
        load(cases.LOADER, weights=short, tokenizer=full_vocabulary)


def test_a_directory_a_small_vocabulary_and_options_are_refused(
    cases, swin, tmp_path, full_vocabulary
):
    with pytest.raises(WeightsError, match="is a directory"):
        load(cases.LOADER, weights=tmp_path, tokenizer=full_vocabulary)
    with pytest.raises(WeightsError, match=r"vocab.txt.* entries, the text tower 28,996"):
        load(cases.LOADER, weights=swin.path, tokenizer=swin.vocabulary)
    with pytest.raises(UsageError, match="no option 'colour'; it takes tokenizer, variant"):
        load(cases.LOADER, weights=swin.path, colour="blue")
    with pytest.raises(UsageError, match="variant='vit' is not one of swin, resnet"):
        load(cases.LOADER, weights=swin.path, variant="vit")
