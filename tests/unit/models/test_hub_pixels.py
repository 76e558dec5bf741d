"""Tests of transformers' image processors: close to Pillow, and equal on the device."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from support.canvases import canvas_of
from support.embeddings import distance
from support.hub_models import KINDS, LOADER, radiographs, save_transformers

from robustness.encoder import load


@pytest.fixture(scope="module")
def images():
    return radiographs()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("transformers")
    return {kind: save_transformers(kind, parent / kind) for kind in KINDS}


@pytest.fixture(scope="module")
def encoders(folders):
    return {kind: load(LOADER, model=f"transformers:{folders[kind]}") for kind in KINDS}


def test_clip_pixels_are_within_a_grey_level_of_pillow(folders, encoders, images):
    import torch
    from PIL import Image

    rows = []
    for image in images:
        height, width = image.shape
        size = [int(32 * side / min(height, width)) for side in (width, height)]
        resized = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        # transformers rounds the crop offset down, torchvision rounds it to even.
        top, left = ((side - 32) // 2 for side in resized.shape)
        rows.append(torch.tensor(resized[top : top + 32, left : left + 32] / 255))
    expected = ((torch.stack(rows) - 0.48145466) / 0.26862954).float()
    level = 1.01 / 255 / 0.26862954
    assert distance(encoders["clip"].preprocess(images)[:, 0], expected) < level
    spec = f"transformers:{folders['clip']}"
    pillow = load(LOADER, model=spec, image_backend="pil")
    assert distance(pillow.preprocess(images)[:, 0], expected) < 1e-5
    assert pillow.details["image_processor"] != encoders["clip"].details["image_processor"]
    assert pillow.fingerprint != encoders["clip"].fingerprint


@pytest.mark.parametrize("kind", KINDS)
def test_preprocessing_on_a_device_gives_the_same_pixels(encoders, images, kind):
    encoder = encoders[kind]
    assert encoder.on_device
    twice = [*images, images[0]]
    found = encoder.preprocess_on_device(canvas_of(twice), [image.shape for image in twice])
    assert distance(found, encoder.preprocess(twice)) == 0


@pytest.mark.parametrize("backend", ["pil", "torchvision"])
def test_a_filter_without_gpu_support_stays_on_the_host(folders, tmp_path, backend):
    """Pillow's processors also stay on the host, with any filter."""
    from PIL import Image

    folder = tmp_path / "lanczos"
    shutil.copytree(folders["clip"], folder)
    path = folder / "preprocessor_config.json"
    settings = json.loads(path.read_text()) | {"resample": int(Image.Resampling.LANCZOS)}
    path.write_text(json.dumps(settings))
    for place in (folder, folders["clip"]):
        encoder = load(LOADER, model=f"transformers:{place}", image_backend=backend)
        assert encoder.on_device == (backend == "torchvision" and place != folder)
