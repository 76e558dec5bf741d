"""Tests of CXR-RePaiR: preprocessing, known mistakes, and CheXzero with the same loader."""

from __future__ import annotations

import numpy as np
import pytest
from support import published_clip as published
from support.clip_cases import ARCHITECTURE, check_images, check_texts, save, small_case
from support.embeddings import SHOWS, TOLERANCE, check_contract, distance, embed
from support.published_clip import FULL, SMALL, TEXTS, picture, pictures

from robustness.encoder import load
from robustness.errors import UsageError, WeightsError, WeightsNotFoundError
from robustness.evalset import Report

LOADER = "robustness.models.cxr_repair:load"
PUBLISHED_NAME = "clip-imp-pretrained_128_6_after_4.pt"


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return small_case(LOADER, tmp_path_factory.mktemp("cxr_repair") / PUBLISHED_NAME, seed=1)


@pytest.fixture(scope="module")
def encoder(case):
    return case.encoder


@pytest.fixture(scope="module")
def images():
    return pictures()


def pixels(images, *, antialias=False, divisor=1, filter_name="LANCZOS", canvas=320, corner=False):
    """Apply the published preprocessing with Pillow and torchvision; the options are mistakes."""
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


@pytest.mark.parametrize("antialias", [False, True])
def test_pixels_equal_pillow_and_torchvision(case, images, antialias):
    encoder = load(LOADER, weights=case.checkpoint, architecture=ARCHITECTURE, antialias=antialias)
    ours = encoder.preprocess(images)
    assert ours.shape == (len(images), 3, 224, 224)
    assert distance(ours, pixels(images, antialias=antialias)) < 1e-5
    assert encoder.details["antialias"] == str(antialias).lower()


def test_pixels_stay_at_grey_levels(encoder):
    import torch

    white = encoder.preprocess([np.full((400, 400), 255, dtype=np.uint8)])
    assert distance(white, torch.full_like(white, (255 - 101.48761) / 83.43944)) < 1e-5


def test_images_equal_transformers(case, images):
    check_images(case.encoder, case.reference, images, pixels(images))


def test_reports_equal_transformers(case):
    check_texts(case.encoder, case.reference)


def test_contract(encoder, images):
    check_contract(encoder, images, TEXTS)
    assert encoder.embedding_dim == SMALL.dim


def test_a_strip_keeps_a_row(encoder):
    assert embed(encoder, [picture(1, 1000)]).isfinite().all()


# Known mistakes


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
def test_a_mistake_would_show(case, encoder, images, mistake):
    wrong = case.reference.images(pixels(images, **mistake))
    assert distance(embed(encoder, images), wrong) > 2 * TOLERANCE
    assert distance(encoder.preprocess(images), pixels(images, **mistake)) > 0.05


def test_clips_own_preprocessing_would_show(case, encoder, images):
    clip = load("robustness.models.clip:load", weights=case.checkpoint, architecture=ARCHITECTURE)
    assert distance(embed(encoder, images), embed(clip, images)) > SHOWS
    assert encoder.fingerprint != clip.fingerprint


def test_plain_gelu_would_show(case, encoder, images):
    wrong = published.Reference(case.weights, SMALL, act="gelu")
    assert distance(embed(encoder, images), wrong.images(pixels(images))) > SHOWS


def test_antialiasing_is_off_unless_asked_for(case, encoder):
    assert encoder.details["antialias"] == "false"
    asked = {"weights": case.checkpoint, "architecture": ARCHITECTURE}
    other = load(LOADER, **asked, antialias=True)
    assert other.fingerprint != encoder.fingerprint
    assert load(LOADER, **asked, antialias="true").fingerprint == other.fingerprint
    with pytest.raises(UsageError, match="invalid antialias='maybe'; set true or false"):
        load(LOADER, **asked, antialias="maybe")


def test_it_reads_the_impression_with_its_lines_joined(encoder):
    report = Report(findings="Clear lungs.", impression="Stable heart.\n No effusion.")
    text = encoder.text_policy.text(report)
    assert "lungs" not in text
    joined, split = encoder.encode_reports(["Stable heart. No effusion.", text])
    assert distance(joined, split) == 0


# Files


def test_chexzero_loads_through_it(case, encoder, images, tmp_path):
    path = save(case.weights, tmp_path / "best_64_5e-05_original_22000_0.864.pt")
    chexzero = load(LOADER, weights=path, architecture=ARCHITECTURE)
    assert distance(embed(chexzero, images), embed(encoder, images)) == 0


def test_half_precision_is_computed_in_single(case, images, tmp_path):
    import torch

    half = {key: value.half() for key, value in case.weights.items()}
    path = save(half, tmp_path / "half.pt")
    rows = embed(load(LOADER, weights=path, architecture=ARCHITECTURE), images)
    reference = published.Reference({key: value.float() for key, value in half.items()}, SMALL)
    assert rows.dtype == torch.float32
    assert distance(rows, reference.images(pixels(images))) < TOLERANCE


def test_folder_of_weights(case, encoder, monkeypatch):
    monkeypatch.setenv("ROBUSTNESS_WEIGHTS", str(case.checkpoint.parent))
    assert load(LOADER, architecture=ARCHITECTURE).fingerprint == encoder.fingerprint


def test_weights_that_are_nowhere(monkeypatch):
    monkeypatch.delenv("ROBUSTNESS_WEIGHTS", raising=False)
    with pytest.raises(WeightsNotFoundError) as caught:
        load(LOADER)
    for part in (PUBLISHED_NAME, "https://github.com/rajpurkarlab/CXR-RePaiR", "licence"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_models_checkpoint(tmp_path):
    import torch

    state = {"vision_model.projection_head.weight": torch.zeros(512, 768)}
    path = save(state, tmp_path / "medclip.bin")
    with pytest.raises(WeightsError, match="medclip.bin.*another model.*projection_head"):
        load(LOADER, weights=path)


def test_unknown_options():
    with pytest.raises(UsageError, match="takes no option 'alias'; it takes antialias, archi"):
        load(LOADER, alias=True)


@pytest.mark.slow
def test_full_size(images, tmp_path):
    weights = published.state(FULL, seed=1)
    encoder = load(LOADER, weights=save(weights, tmp_path / PUBLISHED_NAME))
    reference = published.Reference(weights, FULL)
    check_images(encoder, reference, images, pixels(images))
    check_texts(encoder, reference)
