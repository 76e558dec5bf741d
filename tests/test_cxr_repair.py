"""CXR-RePaiR: its own preprocessing, each mistake in it, and CheXzero through the same loader."""

from __future__ import annotations

import numpy as np
import published_clip as published
import pytest
from published_clip import FULL, SIZES, SMALL, TEXTS, picture

from robustness.encoder import load
from robustness.errors import UsageError, WeightsError, WeightsNotFoundError
from robustness.evalset import Report

LOADER = "models.cxr_repair:load"
PUBLISHED_NAME = "clip-imp-pretrained_128_6_after_4.pt"
TOLERANCE = 5e-5
SHOWS = 1e-3
"""A mistake moves some component of an embedding by more than this."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cxr_repair")


@pytest.fixture(scope="module")
def small(folder):
    return published.register(SMALL, folder, "small-cxr-repair-quickgelu")


@pytest.fixture(scope="module")
def weights():
    return published.state(SMALL, seed=1)


@pytest.fixture(scope="module")
def checkpoint(weights, folder):
    import torch

    torch.save(weights, folder / PUBLISHED_NAME)
    return folder / PUBLISHED_NAME


@pytest.fixture(scope="module")
def encoder(checkpoint, small):
    return load(LOADER, weights=checkpoint, architecture=small)


@pytest.fixture(scope="module")
def reference(weights):
    return published.Reference(weights, SMALL)


@pytest.fixture(scope="module")
def images():
    return [picture(*size) for size in SIZES]


def pixels(images, *, antialias=False, divisor=1, filter_name="LANCZOS", canvas=320, corner=False):
    """The published preprocessing by Pillow and torchvision; the options are mistakes in it."""
    import torch
    from PIL import Image
    from torchvision.transforms import Compose, InterpolationMode, Normalize, Resize

    chain = Compose(
        [
            Normalize((101.48761,) * 3, (83.43944,) * 3),
            Resize(224, InterpolationMode.BICUBIC, antialias=antialias),
        ]
    )
    rows = []
    for image in images:
        picture = Image.fromarray(image)
        ratio = float(canvas) / max(picture.size)
        size = tuple(int(x * ratio) for x in picture.size)
        square = Image.new("L", (canvas, canvas))
        offset = tuple((canvas - x) // 2 for x in size)
        shrunk = picture.resize(size, Image.Resampling[filter_name])
        square.paste(shrunk, (0, 0) if corner else offset)
        grey = np.asarray(square, dtype=np.float32) / divisor
        rows.append(chain(torch.from_numpy(np.repeat(grey[None], 3, axis=0))))
    return torch.stack(rows)


def distance(ours, theirs):
    return (ours - theirs).abs().max().item()


def embed(encoder, images):
    return encoder.encode_images(encoder.preprocess(images))


@pytest.mark.parametrize("antialias", [False, True])
def test_pixels_equal_pillow_and_torchvision(checkpoint, small, images, antialias):
    encoder = load(LOADER, weights=checkpoint, architecture=small, antialias=antialias)
    ours = encoder.preprocess(images)
    assert ours.shape == (len(images), 3, 224, 224)
    assert distance(ours, pixels(images, antialias=antialias)) < 1e-5
    assert encoder.details["antialias"] == str(antialias).lower()


def test_pixels_stay_at_grey_levels(encoder):
    import torch

    white = encoder.preprocess([np.full((400, 400), 255, dtype=np.uint8)])
    assert distance(white, torch.full_like(white, (255 - 101.48761) / 83.43944)) < 1e-5


def test_images_equal_transformers(encoder, reference, images):
    import torch

    expected = reference.images(pixels(images))
    assert distance(embed(encoder, images), expected) < TOLERANCE
    alone = torch.cat([embed(encoder, [image]) for image in images])
    assert distance(alone, expected) < TOLERANCE


def test_reports_equal_transformers(encoder, reference):
    import torch

    expected = reference.texts(published.tokens(TEXTS))
    assert distance(encoder.encode_reports(TEXTS), expected) < TOLERANCE
    alone = torch.cat([encoder.encode_reports([text]) for text in TEXTS])
    assert distance(alone, expected) < TOLERANCE


def test_empty_batches(encoder):
    assert embed(encoder, []).shape == (0, SMALL.dim)
    assert encoder.encode_reports([]).shape == (0, SMALL.dim)


def test_a_strip_keeps_a_row(encoder):
    assert embed(encoder, [picture(1, 1000)]).isfinite().all()


# The traps


def test_sixteen_bits_are_refused_rather_than_clipped(encoder):
    with pytest.raises(ValueError, match=r"image 0 is uint16 .* uint8 \[height, width\]"):
        encoder.preprocess([picture(40, 40).astype(np.uint16) * 257])


@pytest.mark.parametrize(
    "mistake",
    [
        {"divisor": 255},
        {"filter_name": "BILINEAR"},
        {"filter_name": "NEAREST"},
        {"antialias": True},
        {"canvas": 224},
        {"corner": True},
    ],
    ids=str,
)
def test_a_mistake_would_show(encoder, reference, images, mistake):
    wrong = reference.images(pixels(images, **mistake))
    assert distance(embed(encoder, images), wrong) > 2 * TOLERANCE
    assert distance(encoder.preprocess(images), pixels(images, **mistake)) > 0.05


def test_clips_own_preprocessing_would_show(encoder, folder, checkpoint, small, images):
    clip = load("models.clip:load", weights=checkpoint, architecture=small)
    assert distance(embed(encoder, images), embed(clip, images)) > SHOWS
    assert encoder.fingerprint != clip.fingerprint


def test_plain_gelu_would_show(encoder, weights, images):
    wrong = published.Reference(weights, SMALL, act="gelu")
    assert distance(embed(encoder, images), wrong.images(pixels(images))) > SHOWS


def test_antialiasing_is_off_unless_asked_for(encoder, checkpoint, small):
    assert encoder.details["antialias"] == "false"
    other = load(LOADER, weights=checkpoint, architecture=small, antialias=True)
    assert other.fingerprint != encoder.fingerprint
    typed = load(LOADER, weights=checkpoint, architecture=small, antialias="true")
    assert typed.fingerprint == other.fingerprint
    with pytest.raises(UsageError, match="antialias is true or false, not 'maybe'"):
        load(LOADER, weights=checkpoint, architecture=small, antialias="maybe")


def test_it_reads_the_impression_with_its_lines_joined(encoder):
    report = Report(findings="Clear lungs.", impression="Stable heart.\n No effusion.")
    text = encoder.text_policy.text(report)
    assert "lungs" not in text
    joined, split = encoder.encode_reports(["Stable heart. No effusion.", text])
    assert distance(joined, split) == 0


# Files


def test_chexzero_loads_through_it(weights, folder, small, encoder, images):
    import torch

    path = folder / "best_64_5e-05_original_22000_0.864.pt"
    torch.save(weights, path)
    chexzero = load(LOADER, weights=path, architecture=small)
    assert distance(embed(chexzero, images), embed(encoder, images)) == 0


def test_half_precision_is_computed_in_single(weights, folder, small, images):
    import torch

    torch.save({key: value.half() for key, value in weights.items()}, folder / "half.pt")
    rows = embed(load(LOADER, weights=folder / "half.pt", architecture=small), images)
    reference = published.Reference({k: v.half().float() for k, v in weights.items()}, SMALL)
    assert rows.dtype == torch.float32
    assert distance(rows, reference.images(pixels(images))) < TOLERANCE


def test_folder_of_weights(folder, small, encoder, checkpoint, monkeypatch):
    monkeypatch.setenv("ROBUSTNESS_WEIGHTS", str(folder))
    assert load(LOADER, architecture=small).fingerprint == encoder.fingerprint


def test_weights_that_are_nowhere(monkeypatch):
    monkeypatch.delenv("ROBUSTNESS_WEIGHTS", raising=False)
    with pytest.raises(WeightsNotFoundError) as caught:
        load(LOADER)
    for part in (PUBLISHED_NAME, "https://github.com/rajpurkarlab/CXR-RePaiR", "licence"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_models_checkpoint(folder):
    import torch

    path = folder / "medclip.bin"
    torch.save({"vision_model.projection_head.weight": torch.zeros(512, 768)}, path)
    with pytest.raises(WeightsError, match="medclip.bin.*another model.*projection_head"):
        load(LOADER, weights=path)


def test_unknown_options():
    with pytest.raises(UsageError, match="takes no option 'alias'; it takes antialias, archi"):
        load(LOADER, alias=True)


@pytest.mark.slow
def test_full_size(tmp_path):
    import torch

    weights = published.state(FULL, seed=1)
    torch.save(weights, tmp_path / PUBLISHED_NAME)
    encoder = load(LOADER, weights=tmp_path / PUBLISHED_NAME)
    reference = published.Reference(weights, FULL)
    images = [picture(*size) for size in SIZES]
    expected = reference.images(pixels(images))
    assert distance(embed(encoder, images), expected) < TOLERANCE
    alone = torch.cat([embed(encoder, [image]) for image in images])
    assert distance(alone, expected) < TOLERANCE
    expected = reference.texts(published.tokens(TEXTS))
    assert distance(encoder.encode_reports(TEXTS), expected) < TOLERANCE
    alone = torch.cat([encoder.encode_reports([text]) for text in TEXTS])
    assert distance(alone, expected) < TOLERANCE
