"""Tests of MedCLIP against independent references, and of known mistakes."""

from __future__ import annotations

import pytest
from support import medclip_cases
from support.clinical_cases import build, small_case
from support.embeddings import SHOWS, TOLERANCE, embed
from support.medclip_cases import reference_image, reference_pixels, reference_text
from support.reference_towers import (
    SHAPES,
    TEXTS,
    difference,
    radiographs,
    token_ids,
    unit,
)


@pytest.fixture(scope="module", params=["swin", "resnet"])
def case(request, tmp_path_factory):
    return small_case(medclip_cases, request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def swin(tmp_path_factory):
    return small_case(medclip_cases, "swin", tmp_path_factory.mktemp("swin"))


# --- equality with the published model ------------------------------------------------------


def test_pixels_are_those_of_pillow(swin):
    for image in radiographs(SHAPES):
        pixels = swin.encoder.preprocess([image])
        assert str(pixels.dtype) == "torch.float32"
        assert pixels.shape == (1, 3, 224, 224)
        assert difference(pixels, reference_pixels(image)) < 1e-5


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
def test_text_feature(swin, mistake):
    embedding = swin.encoder.encode_reports(TEXTS[:1])
    assert difference(embedding, reference_text(swin, TEXTS[0])) < TOLERANCE
    assert difference(embedding, reference_text(swin, TEXTS[0], **mistake)) > SHOWS


def test_77_tokens_with_the_last_kept(swin):
    embedding = swin.encoder.encode_reports(TEXTS[3:4])
    assert difference(embedding, reference_text(swin, TEXTS[3])) < TOLERANCE
    for limit in (76, 78, 512):
        assert difference(embedding, reference_text(swin, TEXTS[3], limit=limit)) > TOLERANCE
    cut = token_ids(swin.vocabulary, TEXTS[3], 10_000)[:, :77]
    states = swin.towers[1](cut)
    mean = sum(states[layer].mean(dim=1) for layer in (1, 2, -1)) / 3
    without_sep = unit(mean @ swin.state["text_model.projection_head.weight"].double().T)
    assert difference(embedding, without_sep) > TOLERANCE


def test_padding_moves_nothing(swin):
    alone = swin.encoder.encode_reports(TEXTS[:1])
    beside = swin.encoder.encode_reports([TEXTS[0], TEXTS[3]])[:1]
    assert difference(alone, beside) < 1e-5


def test_the_padding_of_upstream_is_an_option(swin):
    import torch

    upstream = build("medclip", swin.path, swin.vocabulary, "swin", padding="upstream")
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


def test_swin_feature_is_the_mean(swin):
    image = radiographs(SHAPES[:1])[0]
    first = reference_image(swin, image, feature=lambda tokens: tokens[:, 0])
    assert difference(embed(swin.encoder, [image]), first) > SHOWS


def test_small_images_are_padded_and_not_enlarged(case):
    image = radiographs(SHAPES[:1])[0]
    enlarged = reference_image(case, image, enlarge=True)
    assert difference(embed(case.encoder, [image]), enlarged) > SHOWS


# --- the published size ----------------------------------------------------------------
