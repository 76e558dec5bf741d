"""Tests of CLIP against transformers' towers with the same weights, and of known mistakes."""

from __future__ import annotations

import os

import numpy as np
import pytest
from support import published_clip as published
from support.clip_cases import ARCHITECTURE, check_images, check_texts, save, small_case
from support.embeddings import SHOWS, check_contract, distance, embed
from support.published_clip import FULL, SMALL, TEXTS, picture, pictures

from robustness.encoder import load
from robustness.errors import UsageError
from robustness.evalset import Report

LOADER = "robustness.models.clip:load"


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return small_case(LOADER, tmp_path_factory.mktemp("clip") / "plain.pt")


@pytest.fixture(scope="module")
def encoder(case):
    return case.encoder


@pytest.fixture(scope="module")
def images():
    return pictures()


def pixels(images, side=224, interpolation="BICUBIC"):
    """Create OpenAI's transform from torchvision's."""
    import torch
    from PIL import Image
    from torchvision.transforms import (
        CenterCrop,
        Compose,
        InterpolationMode,
        Normalize,
        Resize,
        ToTensor,
    )

    chain = Compose(
        [
            Resize(side, InterpolationMode[interpolation]),
            CenterCrop(side),
            ToTensor(),
            Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ]
    )
    return torch.stack([chain(Image.fromarray(image).convert("RGB")) for image in images])


def test_the_table_is_the_published_one():
    table = published.table(FULL)
    assert len(table) == 302
    assert sum(int(np.prod(shape)) for shape in table.values()) == 151_277_313


def test_pixels_equal_torchvision(encoder, images):
    ours = encoder.preprocess(images)
    assert ours.shape == (len(images), 3, 224, 224)
    assert distance(ours, pixels(images)) < 1e-6


def test_images_equal_transformers(case, images):
    check_images(case.encoder, case.reference, images, pixels(images))


def test_reports_equal_transformers(case):
    check_texts(case.encoder, case.reference)


def test_contract(encoder, images):
    check_contract(encoder, images, TEXTS)
    assert encoder.embedding_dim == SMALL.dim


def test_published_token_ids():
    import torch

    ids = published.tokens(["a photo of a cat"])[0]
    assert ids[:7].tolist() == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert torch.all(ids[7:] == 0)


def test_text_policy(encoder):
    policy = encoder.text_policy
    assert policy.max_tokens == 77
    assert policy.text(Report(findings="Clear.", impression="Normal.")) == "Clear. Normal."


def test_details(case):
    import hashlib

    details = case.encoder.details
    assert details["weights_sha256"] == hashlib.sha256(case.checkpoint.read_bytes()).hexdigest()
    assert details["sha256_matches_published"] == "unknown"
    assert details["licence"] == "MIT"
    assert details["variant"] == ARCHITECTURE


# Known mistakes


def test_sixteen_bits_are_refused_rather_than_clipped(encoder):
    with pytest.raises(ValueError, match=r"image 0 is uint16 .* uint8 \[height, width\]"):
        encoder.preprocess([picture(40, 40).astype(np.uint16) * 257])


def test_plain_gelu_would_show(case, images):
    wrong = published.Reference(case.weights, SMALL, act="gelu")
    assert distance(embed(case.encoder, images), wrong.images(pixels(images))) > SHOWS
    ours = case.encoder.encode_reports(TEXTS)
    assert distance(ours, wrong.texts(published.tokens(TEXTS))) > SHOWS


def test_plain_gelu_is_refused(case):
    with pytest.raises(UsageError, match="'ViT-B-32' has another activation .* quickgelu"):
        load(LOADER, weights=case.checkpoint, architecture="ViT-B-32")


def test_a_lost_end_token_would_show(case):
    long = [TEXTS[3], TEXTS[4]]
    wrong = case.reference.texts(published.tokens(long, keep_end=False))
    assert distance(case.encoder.encode_reports(long), wrong) > SHOWS


def test_what_is_beyond_the_limit_is_not_read(encoder):
    just_within, beyond = TEXTS[5], f"{TEXTS[5]} pneumothorax"
    same = encoder.encode_reports([just_within, beyond])
    assert distance(same[0], same[1]) == 0
    assert distance(encoder.encode_reports([TEXTS[4]]), same[:1]) > SHOWS


def test_accents_are_read(encoder):
    with_accents, without = encoder.encode_reports(["Sténose", "Stenose"])
    assert distance(with_accents, without) > SHOWS


def test_another_filter_would_show(encoder, images):
    assert distance(encoder.preprocess(images), pixels(images, interpolation="BILINEAR")) > 0.1


def test_a_tensor_resize_would_show(encoder):
    import torch
    from torch.nn.functional import interpolate

    image = picture(2500, 2048)
    tensor = torch.from_numpy(image)[None, None].float()
    size = (int(224 * 2500 / 2048), 224)
    resized = interpolate(tensor, size=size, mode="bicubic", antialias=False)
    top = round((size[0] - 224) / 2)
    wrong = (resized[0, 0, top : top + 224] / 255 - 0.48145466) / 0.26862954
    assert distance(encoder.preprocess([image])[0, 0], wrong) > 0.1


# Files


def rounded(weights):
    """Return weights rounded to fp16."""
    return {key: value.half().float() if value.ndim else value for key, value in weights.items()}


def test_published_archive(case, images, tmp_path):
    archive = published.archive(case.weights, tmp_path / "ViT-B-32.pt")
    encoder = load(LOADER, weights=archive, architecture=ARCHITECTURE)
    reference = published.Reference(rounded(case.weights), SMALL)
    check_images(encoder, reference, images, pixels(images))
    check_texts(encoder, reference)
    # A file with the published name and another hash does not match.
    assert encoder.details["sha256_matches_published"] == "no"


def test_half_precision_and_buffers(case, images, tmp_path):
    import torch

    half = {key: value.half() for key, value in case.weights.items()}
    half |= {"input_resolution": torch.tensor(224), "vocab_size": torch.tensor(49408)}
    other = load(LOADER, weights=save(half, tmp_path / "half.pt"), architecture=ARCHITECTURE)
    ours = embed(other, images)
    assert ours.dtype == torch.float32
    assert distance(ours, embed(case.encoder, images)) < 5e-3
    assert other.fingerprint != case.encoder.fingerprint


def test_fingerprint_follows_the_weights(case, tmp_path):
    again = load(LOADER, weights=case.checkpoint, architecture=ARCHITECTURE)
    assert again.fingerprint == case.encoder.fingerprint
    changed = dict(case.weights)
    changed["ln_final.bias"] = case.weights["ln_final.bias"].clone()
    changed["ln_final.bias"][3] += 1e-3
    path = save(changed, tmp_path / "changed.pt")
    other = load(LOADER, weights=path, architecture=ARCHITECTURE)
    assert other.fingerprint != case.encoder.fingerprint


def test_folder_of_weights(case, tmp_path, monkeypatch):
    os.link(case.checkpoint, tmp_path / "ViT-B-32.pt")
    monkeypatch.setenv("ROBUSTNESS_WEIGHTS", str(tmp_path))
    assert load(LOADER, architecture=ARCHITECTURE).fingerprint == case.encoder.fingerprint


def test_loading_leaves_the_callers_random_numbers_alone(case):
    import torch

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    load(LOADER, weights=case.checkpoint, architecture=ARCHITECTURE)
    assert torch.rand(1) == expected


@pytest.mark.slow
def test_full_size(images, tmp_path):
    weights = published.state(FULL)
    encoder = load(LOADER, weights=published.archive(weights, tmp_path / "ViT-B-32.pt"))
    reference = published.Reference(rounded(weights), FULL)
    check_images(encoder, reference, images, pixels(images))
    check_texts(encoder, reference)
