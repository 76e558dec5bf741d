"""CLIP: equal to transformers' towers on the same weights, and every known mistake shows."""

from __future__ import annotations

import os

import numpy as np
import published_clip as published
import pytest
from published_clip import FULL, SIZES, SMALL, TEXTS, picture

from robustness.encoder import load
from robustness.errors import UsageError
from robustness.evalset import Report

LOADER = "models.clip:load"
TOLERANCE = 5e-5
SHOWS = 1e-3
"""A mistake moves some component of an embedding by more than this."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clip")


@pytest.fixture(scope="module")
def small(folder):
    return published.register(SMALL, folder, "small-clip-quickgelu")


@pytest.fixture(scope="module")
def weights():
    return published.state(SMALL)


@pytest.fixture(scope="module")
def checkpoint(weights, folder):
    import torch

    torch.save(weights, folder / "plain.pt")
    return folder / "plain.pt"


@pytest.fixture(scope="module")
def encoder(checkpoint, small):
    return load(LOADER, weights=checkpoint, architecture=small)


@pytest.fixture(scope="module")
def reference(weights):
    return published.Reference(weights, SMALL)


@pytest.fixture(scope="module")
def images():
    return [picture(*size) for size in SIZES]


def pixels(images, side=224, interpolation="BICUBIC"):
    """OpenAI's transform, put together from torchvision's."""
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


def distance(ours, theirs):
    return (ours - theirs).abs().max().item()


def save(weights, path):
    import torch

    torch.save(weights, path)
    return path


def test_the_table_is_the_published_one():
    table = published.table(FULL)
    assert len(table) == 302
    assert sum(int(np.prod(shape)) for shape in table.values()) == 151_277_313


def test_pixels_equal_torchvision(encoder, images):
    ours = encoder.preprocess(images)
    assert ours.shape == (len(images), 3, 224, 224)
    assert distance(ours, pixels(images)) < 1e-6


def test_images_equal_transformers(encoder, reference, images):
    expected = reference.images(pixels(images))
    assert distance(encoder.encode_images(encoder.preprocess(images)), expected) < TOLERANCE


def test_reports_equal_transformers(encoder, reference):
    expected = reference.texts(published.tokens(TEXTS))
    assert distance(encoder.encode_reports(TEXTS), expected) < TOLERANCE


def test_one_at_a_time_equals_any_batch(encoder, images):
    import torch

    batch = encoder.encode_images(encoder.preprocess(images))
    alone = torch.cat([encoder.encode_images(encoder.preprocess([image])) for image in images])
    assert distance(batch, alone) < 1e-5
    batch = encoder.encode_reports(TEXTS[::-1]).flip(0)
    alone = torch.cat([encoder.encode_reports([text]) for text in TEXTS])
    assert distance(batch, alone) < 1e-5


def test_contract(encoder, images):
    import torch

    for rows in (
        encoder.encode_images(encoder.preprocess(images)),
        encoder.encode_reports(TEXTS),
    ):
        assert rows.dtype == torch.float32
        assert rows.shape[1] == encoder.embedding_dim == SMALL.dim
        assert rows.isfinite().all()
        assert distance(rows.norm(dim=1), torch.ones(len(rows))) < 1e-5
        assert not rows.requires_grad
    assert encoder.encode_images(encoder.preprocess([])).shape == (0, SMALL.dim)
    assert encoder.encode_reports([]).shape == (0, SMALL.dim)


def test_published_token_ids():
    import torch

    ids = published.tokens(["a photo of a cat"])[0]
    assert ids[:7].tolist() == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert torch.all(ids[7:] == 0)


def test_text_policy(encoder):
    policy = encoder.text_policy
    assert policy.max_tokens == 77
    assert policy.text(Report(findings="Clear.", impression="Normal.")) == "Clear. Normal."


def test_details(encoder, checkpoint):
    import hashlib

    assert encoder.details["weights_sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert encoder.details["sha256_matches_published"] == "unknown"
    assert encoder.details["licence"] == "MIT"
    assert encoder.details["variant"] == "small-clip-quickgelu"


# The traps


def test_sixteen_bits_are_refused_rather_than_clipped(encoder):
    with pytest.raises(ValueError, match=r"image 0 is uint16 .* uint8 \[height, width\]"):
        encoder.preprocess([picture(40, 40).astype(np.uint16) * 257])


def test_plain_gelu_would_show(encoder, weights, images):
    wrong = published.Reference(weights, SMALL, act="gelu")
    ours = encoder.encode_images(encoder.preprocess(images))
    assert distance(ours, wrong.images(pixels(images))) > SHOWS
    ours = encoder.encode_reports(TEXTS)
    assert distance(ours, wrong.texts(published.tokens(TEXTS))) > SHOWS


def test_plain_gelu_is_refused(checkpoint):
    with pytest.raises(UsageError, match="'ViT-B-32' has another activation .* quickgelu"):
        load(LOADER, weights=checkpoint, architecture="ViT-B-32")


def test_a_lost_end_token_would_show(encoder, reference):
    long = [TEXTS[3], TEXTS[4]]
    wrong = reference.texts(published.tokens(long, keep_end=False))
    assert distance(encoder.encode_reports(long), wrong) > SHOWS


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


def test_published_archive(weights, folder, small, images):
    archive = published.archive(weights, folder / "ViT-B-32.pt")
    encoder = load(LOADER, weights=archive, architecture=small)
    half = {key: value.half().float() if value.ndim else value for key, value in weights.items()}
    reference = published.Reference(half, SMALL)
    ours = encoder.encode_images(encoder.preprocess(images))
    assert distance(ours, reference.images(pixels(images))) < TOLERANCE
    expected = reference.texts(published.tokens(TEXTS))
    assert distance(encoder.encode_reports(TEXTS), expected) < TOLERANCE
    # A file of the published name that is not the published file is said to be none.
    assert encoder.details["sha256_matches_published"] == "no"


def test_half_precision_and_buffers(weights, folder, small, encoder, images):
    import torch

    half = {key: value.half() for key, value in weights.items()}
    half |= {"input_resolution": torch.tensor(224), "vocab_size": torch.tensor(49408)}
    other = load(LOADER, weights=save(half, folder / "half.pt"), architecture=small)
    ours = other.encode_images(other.preprocess(images))
    assert ours.dtype == torch.float32
    assert distance(ours, encoder.encode_images(encoder.preprocess(images))) < 5e-3
    assert other.fingerprint != encoder.fingerprint


def test_fingerprint_follows_the_weights(weights, folder, small, encoder, checkpoint):
    assert load(LOADER, weights=checkpoint, architecture=small).fingerprint == encoder.fingerprint
    changed = dict(weights)
    changed["ln_final.bias"] = weights["ln_final.bias"].clone()
    changed["ln_final.bias"][3] += 1e-3
    path = save(changed, folder / "changed.pt")
    assert load(LOADER, weights=path, architecture=small).fingerprint != encoder.fingerprint


def test_folder_of_weights(checkpoint, small, folder, monkeypatch, encoder):
    (folder / "weights").mkdir()
    os.link(checkpoint, folder / "weights" / "ViT-B-32.pt")
    monkeypatch.setenv("ROBUSTNESS_WEIGHTS", str(folder / "weights"))
    assert load(LOADER, architecture=small).fingerprint == encoder.fingerprint


def test_loading_leaves_the_callers_random_numbers_alone(checkpoint, small):
    import torch

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    load(LOADER, weights=checkpoint, architecture=small)
    assert torch.rand(1) == expected


@pytest.mark.slow
def test_full_size(tmp_path):
    import torch

    weights = published.state(FULL)
    encoder = load(LOADER, weights=published.archive(weights, tmp_path / "ViT-B-32.pt"))
    half = {key: value.half().float() if value.ndim else value for key, value in weights.items()}
    reference = published.Reference(half, FULL)
    images = [picture(*size) for size in SIZES]
    expected = reference.images(pixels(images))
    assert distance(encoder.encode_images(encoder.preprocess(images)), expected) < TOLERANCE
    alone = torch.cat([encoder.encode_images(encoder.preprocess([image])) for image in images])
    assert distance(alone, expected) < TOLERANCE
    expected = reference.texts(published.tokens(TEXTS))
    assert distance(encoder.encode_reports(TEXTS), expected) < TOLERANCE
    alone = torch.cat([encoder.encode_reports([text]) for text in TEXTS])
    assert distance(alone, expected) < TOLERANCE
