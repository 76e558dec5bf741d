"""Tests of CXR-CLIP against independent references, and of known mistakes."""

from __future__ import annotations

import pytest
from support import cxr_clip_cases, published
from support.clinical_cases import build, small_case
from support.cxr_clip_cases import (
    HALF,
    IMAGENET,
    project,
    reference_image,
    reference_pixels,
    reference_text,
)
from support.embeddings import SHOWS, TOLERANCE, embed
from support.reference_towers import (
    SHAPES,
    TEXTS,
    difference,
    radiographs,
    token_ids,
)

from robustness.errors import WeightsError
from robustness.evalset import Report


@pytest.fixture(scope="module", params=["swin", "resnet"])
def case(request, tmp_path_factory):
    return small_case(cxr_clip_cases, request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def swin(tmp_path_factory):
    return small_case(cxr_clip_cases, "swin", tmp_path_factory.mktemp("swin"))


# --- equality with the published model ------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_are_those_of_torchvision_on_pillow(case, shape):
    image = radiographs([shape])[0]
    pixels = case.encoder.preprocess([image])
    statistics = {"swin": HALF, "resnet": IMAGENET}[case.variant]
    assert str(pixels.dtype) == "torch.float32"
    assert difference(pixels, reference_pixels(image, statistics)) < 1e-5


# --- known mistakes: their effect, and that they are not made ----------------------------


def test_swin_feature_is_the_first_token(swin):
    image = radiographs(SHAPES[:1])[0]
    mean = reference_image(swin, image, feature=lambda tokens: tokens.mean(dim=1))
    assert difference(embed(swin.encoder, [image]), mean) > SHOWS


def test_projections_have_a_bias(case, tmp_path):
    image = radiographs(SHAPES[:1])[0]
    assert (
        difference(embed(case.encoder, [image]), reference_image(case, image, biased=False)) > SHOWS
    )
    embedding = case.encoder.encode_reports(TEXTS[:1])
    assert difference(embedding, reference_text(case, TEXTS[0], biased=False)) > SHOWS
    state = dict(case.state)
    del state["text_projection.projection.bias"]
    with pytest.raises(WeightsError, match="1 missing keys .'text_projection.projection.bias'."):
        build(
            "cxr_clip",
            published.cxr_clip_tar(tmp_path / "bare.tar", state),
            case.vocabulary,
            case.variant,
        )


def test_text_feature_is_that_of_sep(swin):
    embedding = swin.encoder.encode_reports(TEXTS[:1])
    assert difference(embedding, reference_text(swin, TEXTS[0])) < TOLERANCE
    for position in (0, -2):
        assert difference(embedding, reference_text(swin, TEXTS[0], position=position)) > SHOWS


def test_sep_is_found_before_the_padding(swin):
    rows = swin.encoder.encode_reports([TEXTS[0], TEXTS[3], ""])
    assert difference(rows[:1], swin.encoder.encode_reports(TEXTS[:1])) < 1e-5
    assert difference(rows[2:], swin.encoder.encode_reports([""])) < 1e-5


def test_256_tokens_with_sep_kept(swin):
    embedding = swin.encoder.encode_reports(TEXTS[3:4])
    assert difference(embedding, reference_text(swin, TEXTS[3])) < TOLERANCE
    for limit in (77, 255, 257, 512):
        assert difference(embedding, reference_text(swin, TEXTS[3], limit=limit)) > TOLERANCE
    without_sep = swin.towers[1](token_ids(swin.vocabulary, TEXTS[3], 10_000)[:, :256])[-1][:, -1]
    assert difference(embedding, project(swin, "text", without_sep)) > SHOWS


def test_each_variant_has_its_own_statistics(case):
    image = radiographs(SHAPES[:1])[0]
    other = {"swin": IMAGENET, "resnet": HALF}[case.variant]
    assert (
        difference(embed(case.encoder, [image]), reference_image(case, image, statistics=other))
        > SHOWS
    )


def test_resampling_is_bilinear(swin):
    image = radiographs(SHAPES[4:5])[0]
    bicubic = reference_image(swin, image, interpolation=3)
    assert difference(embed(swin.encoder, [image]), bicubic) > TOLERANCE


# --- details in the result --------------------------------------------------------------


def test_the_longer_section_is_read(swin):
    from dataclasses import asdict

    policy = swin.encoder.text_policy
    assert policy.text(Report(findings="Short.", impression="A longer text.")) == "A longer text."
    assert policy.text(Report(findings="A longer text.", impression="Short.")) == "A longer text."
    assert policy.text(Report(findings="Same", impression="Size")) == "Same"
    assert "longest" in asdict(policy)["selection"]
    assert policy.max_tokens == 256


# --- the published size ----------------------------------------------------------------
