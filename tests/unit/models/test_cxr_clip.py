"""Tests of CXR-CLIP against independent references, and of known mistakes."""

from __future__ import annotations

import pytest
from support import published
from support.cxr_clip_cases import LOADER, build, prepare, small_case
from support.embeddings import SHOWS, TOLERANCE, check_contract, embed
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
from robustness.errors import WeightsError
from robustness.evalset import Report


@pytest.fixture(scope="module", params=["swin", "resnet"])
def case(request, tmp_path_factory):
    return small_case(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def swin(tmp_path_factory):
    return small_case("swin", tmp_path_factory.mktemp("swin"))


# --- the references --------------------------------------------------------------------

HALF = ((0.5,) * 3, (0.5,) * 3)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def reference_pixels(image, statistics, interpolation=2):
    """Apply the published preprocessing with torchvision on Pillow: ``[1, 3, 224, 224]``."""
    from PIL import Image
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode

    mode = {2: InterpolationMode.BILINEAR, 3: InterpolationMode.BICUBIC}[interpolation]
    pipeline = transforms.Compose(
        [
            transforms.Resize(224, interpolation=mode),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(*statistics),
        ]
    )
    return pipeline(Image.fromarray(image).convert("RGB"))[None]


def project(case, tower, features, biased=True):
    head = f"{tower}_projection.projection"
    weight, bias = case.state[f"{head}.weight"].double(), case.state[f"{head}.bias"].double()
    return unit(features.double() @ weight.T + (bias if biased else 0))


def reference_image(case, image, feature=None, biased=True, statistics=None, **options):
    statistics = statistics or {"swin": HALF, "resnet": IMAGENET}[case.variant]
    features = case.towers[0](reference_pixels(image, statistics, **options))
    if case.variant == "swin":
        features = features[:, 0] if feature is None else feature(features)
    return project(case, "image", features, biased)


def reference_text(case, text, limit=256, position=-1, biased=True):
    last = case.towers[1](token_ids(case.vocabulary, text, limit))[-1]
    return project(case, "text", last[:, position], biased)


# --- equality with the published model ------------------------------------------------------


def test_images_embed_as_published(case):
    check_images(case, reference_image, SHAPES[:4] if case.variant == "swin" else SHAPES[:3])


def test_a_full_radiograph_embeds_as_published(swin):
    check_images(swin, reference_image, SHAPES[-2:])


@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_are_those_of_torchvision_on_pillow(case, shape):
    image = radiographs([shape])[0]
    pixels = case.encoder.preprocess([image])
    statistics = {"swin": HALF, "resnet": IMAGENET}[case.variant]
    assert str(pixels.dtype) == "torch.float32"
    assert difference(pixels, reference_pixels(image, statistics)) < 1e-5


def test_texts_embed_as_published(swin):
    check_texts(swin, reference_text)


def test_contract(case):
    check_contract(case.encoder, radiographs(SHAPES[:2]), ["", "x"])
    assert case.encoder.embedding_dim == 512


# --- known mistakes: their effect, and that they are not made ----------------------------


def test_trap_swin_feature_is_the_first_token(swin):
    image = radiographs(SHAPES[:1])[0]
    mean = reference_image(swin, image, feature=lambda tokens: tokens.mean(dim=1))
    assert difference(embed(swin.encoder, [image]), mean) > SHOWS


def test_trap_projections_have_a_bias(case, tmp_path):
    image = radiographs(SHAPES[:1])[0]
    assert (
        difference(embed(case.encoder, [image]), reference_image(case, image, biased=False)) > SHOWS
    )
    embedding = case.encoder.encode_reports(TEXTS[:1])
    assert difference(embedding, reference_text(case, TEXTS[0], biased=False)) > SHOWS
    state = dict(case.state)
    del state["text_projection.projection.bias"]
    with pytest.raises(WeightsError, match="1 missing keys .'text_projection.projection.bias'."):
        build(published.cxr_clip_tar(tmp_path / "bare.tar", state), case.vocabulary, case.variant)


def test_trap_text_feature_is_that_of_sep(swin):
    embedding = swin.encoder.encode_reports(TEXTS[:1])
    assert difference(embedding, reference_text(swin, TEXTS[0])) < TOLERANCE
    for position in (0, -2):
        assert difference(embedding, reference_text(swin, TEXTS[0], position=position)) > SHOWS


def test_trap_sep_is_found_before_the_padding(swin):
    rows = swin.encoder.encode_reports([TEXTS[0], TEXTS[3], ""])
    assert difference(rows[:1], swin.encoder.encode_reports(TEXTS[:1])) < 1e-5
    assert difference(rows[2:], swin.encoder.encode_reports([""])) < 1e-5


def test_trap_256_tokens_with_sep_kept(swin):
    embedding = swin.encoder.encode_reports(TEXTS[3:4])
    assert difference(embedding, reference_text(swin, TEXTS[3])) < TOLERANCE
    for limit in (77, 255, 257, 512):
        assert difference(embedding, reference_text(swin, TEXTS[3], limit=limit)) > TOLERANCE
    without_sep = swin.towers[1](token_ids(swin.vocabulary, TEXTS[3], 10_000)[:, :256])[-1][:, -1]
    assert difference(embedding, project(swin, "text", without_sep)) > SHOWS


def test_trap_lower_case_with_a_cased_vocabulary(swin):
    encode = swin.encoder.encode_reports
    assert difference(encode(["HEART Café"]), encode(["heart cafe"])) == 0


def test_trap_each_variant_has_its_own_statistics(case):
    image = radiographs(SHAPES[:1])[0]
    other = {"swin": IMAGENET, "resnet": HALF}[case.variant]
    assert (
        difference(embed(case.encoder, [image]), reference_image(case, image, statistics=other))
        > SHOWS
    )


def test_trap_resampling_is_bilinear(swin):
    image = radiographs(SHAPES[4:5])[0]
    bicubic = reference_image(swin, image, interpolation=3)
    assert difference(embed(swin.encoder, [image]), bicubic) > TOLERANCE


def test_trap_batch_norm_is_in_eval_mode(case):
    assert not any(module.training for module in case.encoder.network.modules())


# --- details in the result --------------------------------------------------------------


def test_the_longer_section_is_read(swin):
    from dataclasses import asdict

    policy = swin.encoder.text_policy
    assert policy.text(Report(findings="Short.", impression="A longer text.")) == "A longer text."
    assert policy.text(Report(findings="A longer text.", impression="Short.")) == "A longer text."
    assert policy.text(Report(findings="Same", impression="Size")) == "Same"
    assert "longest" in asdict(policy)["selection"]
    assert policy.max_tokens == 256


def test_the_result_says_what_was_measured(case):
    import hashlib

    details = case.encoder.details
    assert details["weights_sha256"] == hashlib.sha256(case.path.read_bytes()).hexdigest()
    assert details["variant"] == case.variant
    assert {"source", "licence", "tokenizer_sha256"} <= details.keys()


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
