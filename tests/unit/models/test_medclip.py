"""Tests of MedCLIP against independent references, and of known mistakes."""

from __future__ import annotations

import pytest
from support import published
from support.embeddings import SHOWS, TOLERANCE, check_contract, embed
from support.medclip_cases import LOADER, build, prepare, small_case
from support.published import FULL
from support.reference_towers import (
    SHAPES,
    TEXTS,
    Case,
    check_images,
    check_texts,
    difference,
    radiographs,
    token_ids,
    unit,
)

from robustness.encoder import load


@pytest.fixture(scope="module", params=["swin", "resnet"])
def case(request, tmp_path_factory):
    return small_case(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def swin(tmp_path_factory):
    return small_case("swin", tmp_path_factory.mktemp("swin"))


# --- the references --------------------------------------------------------------------


def reference_pixels(image, enlarge=False):
    """Apply the published preprocessing with Pillow and numpy: ``[1, 3, 224, 224]``."""
    import numpy as np
    import torch
    from PIL import Image

    picture = Image.fromarray(image)
    width, height = picture.size
    side = max(width, height) if enlarge else max(224, width, height)
    square = Image.new("L", (side, side), 0)
    square.paste(picture, (int((side - width) / 2), int((side - height) / 2)))
    grey = np.asarray(square.resize((224, 224), Image.Resampling.BICUBIC), dtype=np.float64)
    values = (grey / 255 - 0.5862785803043838) / 0.27950088968644304
    return torch.tensor(np.stack([values] * 3)[None], dtype=torch.float32)


def reference_image(case, image, feature=None, **options):
    tower = case.towers[0](reference_pixels(image, **options))
    if case.variant == "resnet":
        return unit(tower @ case.state["vision_model.model.fc.weight"].T)
    pooled = tower.mean(dim=1) if feature is None else feature(tower)
    return unit(pooled @ case.state["vision_model.projection_head.weight"].T)


def reference_text(case, text, layers=(1, 2, -1), tokens=slice(None), limit=77):
    states = case.towers[1](token_ids(case.vocabulary, text, limit))
    mean = sum(states[layer][:, tokens].mean(dim=1) for layer in layers) / len(layers)
    return unit(mean @ case.state["text_model.projection_head.weight"].double().T)


# --- equality with the published model ------------------------------------------------------


def test_images_embed_as_published(case):
    check_images(case, reference_image, SHAPES[:4] if case.variant == "swin" else SHAPES[:3])


def test_a_full_radiograph_embeds_as_published(swin):
    check_images(swin, reference_image, SHAPES[-2:])


def test_pixels_are_those_of_pillow(swin):
    for image in radiographs(SHAPES):
        pixels = swin.encoder.preprocess([image])
        assert str(pixels.dtype) == "torch.float32"
        assert pixels.shape == (1, 3, 224, 224)
        assert difference(pixels, reference_pixels(image)) < 1e-5


def test_texts_embed_as_published(swin):
    check_texts(swin, reference_text)


def test_contract(case):
    check_contract(case.encoder, radiographs(SHAPES[:2]), ["", "x"])
    assert case.encoder.embedding_dim == 512


# --- known mistakes: their effect, and that they are not made ----------------------------


@pytest.mark.parametrize(
    "mistake",
    [
        {"layers": (-1, -2, -3)},
        {"layers": (-1,)},
        {"layers": (0, 1, -1)},
        {"tokens": slice(1, -1)},
        {"tokens": slice(0, 1)},
    ],
    ids=["last three", "last", "one too early", "without [CLS] and [SEP]", "[CLS] alone"],
)
def test_trap_text_feature(swin, mistake):
    embedding = swin.encoder.encode_reports(TEXTS[:1])
    assert difference(embedding, reference_text(swin, TEXTS[0])) < TOLERANCE
    assert difference(embedding, reference_text(swin, TEXTS[0], **mistake)) > SHOWS


def test_trap_77_tokens_with_the_last_kept(swin):
    embedding = swin.encoder.encode_reports(TEXTS[3:4])
    assert difference(embedding, reference_text(swin, TEXTS[3])) < TOLERANCE
    for limit in (76, 78, 512):
        assert difference(embedding, reference_text(swin, TEXTS[3], limit=limit)) > TOLERANCE
    cut = token_ids(swin.vocabulary, TEXTS[3], 10_000)[:, :77]
    states = swin.towers[1](cut)
    mean = sum(states[layer].mean(dim=1) for layer in (1, 2, -1)) / 3
    without_sep = unit(mean @ swin.state["text_model.projection_head.weight"].double().T)
    assert difference(embedding, without_sep) > TOLERANCE


def test_trap_padding_moves_nothing(swin):
    alone = swin.encoder.encode_reports(TEXTS[:1])
    beside = swin.encoder.encode_reports([TEXTS[0], TEXTS[3]])[:1]
    assert difference(alone, beside) < 1e-5


def test_the_padding_of_upstream_is_an_option(swin):
    import torch

    upstream = build(swin.path, swin.vocabulary, "swin", padding="upstream")
    texts = [TEXTS[0], TEXTS[3]]
    rows = upstream.encode_reports(texts)
    assert difference(rows[:1], swin.encoder.encode_reports(texts)[:1]) > SHOWS
    assert difference(rows[1:], swin.encoder.encode_reports(texts)[1:]) < TOLERANCE
    assert difference(upstream.encode_reports(TEXTS[:1]), reference_text(swin, TEXTS[0])) < 5e-5
    assert upstream.details["padding"] == "upstream"
    assert swin.encoder.details["padding"] == "masked"
    assert upstream.fingerprint != swin.encoder.fingerprint

    ids = token_ids(swin.vocabulary, texts[0], 77)
    padded = torch.nn.functional.pad(ids, (0, 77 - ids.shape[1]))
    model = upstream.network.text_model["model"]
    mask = (torch.arange(77) < ids.shape[1]).long()[None]
    states = model(padded, attention_mask=mask, output_hidden_states=True).hidden_states
    mean = sum(states[layer].mean(dim=1) for layer in (1, 2, -1)) / 3
    expected = unit(mean @ swin.state["text_model.projection_head.weight"].T)
    assert difference(rows[:1], expected) < TOLERANCE


def test_trap_lower_case_with_a_cased_vocabulary(swin):
    encode = swin.encoder.encode_reports
    assert difference(encode(["HEART Café"]), encode(["heart cafe"])) == 0
    cased = token_ids(swin.vocabulary, "heart", 77)
    assert cased[0, 1] != swin.vocabulary.read_text().split("\n").index("Heart")


def test_trap_swin_feature_is_the_mean(swin):
    image = radiographs(SHAPES[:1])[0]
    first = reference_image(swin, image, feature=lambda tokens: tokens[:, 0])
    assert difference(embed(swin.encoder, [image]), first) > SHOWS


def test_trap_small_images_are_padded_and_not_enlarged(case):
    image = radiographs(SHAPES[:1])[0]
    enlarged = reference_image(case, image, enlarge=True)
    assert difference(embed(case.encoder, [image]), enlarged) > SHOWS


def test_trap_batch_norm_is_in_eval_mode(case):
    assert not any(module.training for module in case.encoder.network.modules())


@pytest.mark.parametrize("model", ["medclip", "cxr_clip"])
@pytest.mark.parametrize("variant", ["swin", "resnet"])
def test_every_published_key_has_a_parameter(model, variant):
    import importlib

    import torch

    from robustness.models import _checkpoint, _clinical

    module = importlib.import_module(f"robustness.models.{model}")
    with torch.device("meta"):
        towers = module.PUBLICATION.network(_clinical.Shapes(), variant)
        table = getattr(published, model)(variant, FULL)
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


# --- the published size ----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["swin", "resnet"])
def test_the_published_size_embeds_as_published(variant, shared, tmp_path):
    vocabulary = shared / "bert_base_cased" / "vocab.txt"
    path, state, towers = prepare(variant, FULL, tmp_path)
    encoder = load(LOADER, weights=path, tokenizer=vocabulary)
    case = Case(encoder, variant, path, state, vocabulary, towers)
    images = check_images(case, reference_image, SHAPES)
    print("images", images, "texts", check_texts(case, reference_text))  # noqa: T201
