"""Tests of resampling on a device: equal to Pillow, and to each model's host preprocessing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.canvases import canvas_of

GEOMETRIES = ("ShortSide", "Squash", "Letterbox", "BlackSquare")
FILTERS = ("bilinear", "bicubic", "lanczos")

sizes = st.tuples(st.integers(1, 90), st.integers(1, 90))


def noise(height, width):
    return np.random.default_rng([height, width]).integers(0, 256, (height, width), np.uint8)


def on_device(preprocessing, images):
    return preprocessing.device(canvas_of(images), [image.shape for image in images])


def assert_alike(preprocessing, images):
    import torch

    assert torch.equal(preprocessing.host(images), on_device(preprocessing, images))


@settings(max_examples=60)
@given(
    st.lists(sizes, min_size=1, max_size=4),
    st.integers(1, 60),
    st.sampled_from(GEOMETRIES),
    st.sampled_from(FILTERS),
)
def test_squares_equal_pillow_s_to_the_bit(shapes, side, geometry, filter_name):
    from robustness.models import _preprocessing

    made = getattr(_preprocessing, geometry)(side, filter_name)
    images = [noise(*shape) for shape in shapes]
    assert_alike(_preprocessing.Preprocessing(made, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), images)


@settings(max_examples=60)
@given(sizes, sizes, st.sampled_from(FILTERS))
def test_any_size_to_any_size_equals_pillow(size, target, filter_name):
    import torch
    from PIL import Image

    from robustness.models._resample import Axis, resample

    image = noise(*size)
    axes = tuple(Axis(n, 0, n, m, 0, m, filter_name) for n, m in zip(size, target, strict=True))
    theirs = Image.fromarray(image).resize(target[::-1], Image.Resampling[filter_name.upper()])
    ours = resample(torch.from_numpy(image)[None], [axes])[0]
    assert np.array_equal(ours.numpy(), np.asarray(theirs))


@pytest.mark.parametrize("filter_name", FILTERS)
def test_black_and_white_edges_stay_within_a_byte(filter_name):
    """Bicubic and Lanczos overshoot at edges; Pillow clips to 0 and 255."""
    from robustness.models._preprocessing import Preprocessing, Squash

    board = np.where(np.indices((70, 50)).sum(axis=0) % 14 < 7, 255, 0).astype(np.uint8)
    assert_alike(Preprocessing(Squash(61, filter_name), (0.0,) * 3, (1.0,) * 3), [board, board.T])


def test_radiographs_of_full_size_and_both_orders_of_the_passes():
    from robustness.models._preprocessing import Letterbox, Preprocessing, ShortSide

    images = [noise(2500, 2048), noise(2048, 2500), noise(640, 512)]
    for geometry in (ShortSide(224, "bicubic"), Letterbox(320, "lanczos")):
        assert_alike(Preprocessing(geometry, (0.5,) * 3, (0.25,) * 3), images)


def test_more_taps_than_float32_adds_exactly():
    from robustness.models._preprocessing import Preprocessing, Squash
    from robustness.models._resample import EXACT_TAPS, taps

    geometry = Squash(8, "lanczos")
    image = np.full((8, 900), 255, np.uint8)
    image[:, ::7] = 0
    index, _ = taps(geometry.axes(8, 900)[1])
    assert len(index) > EXACT_TAPS
    assert_alike(Preprocessing(geometry, (0.5,) * 3, (0.25,) * 3), [image])


def test_a_large_batch_is_split(monkeypatch):
    from robustness.models import _resample
    from robustness.models._preprocessing import Preprocessing, ShortSide

    monkeypatch.setattr(_resample, "MAX_PIXELS_AT_ONCE", 2000)
    images = [noise(30 + i, 40 - i) for i in range(7)]
    assert_alike(Preprocessing(ShortSide(16, "bicubic"), (0.5,) * 3, (0.25,) * 3), images)


@pytest.mark.parametrize("mode", ["shortest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "random"])
def test_open_clip_s_numbers_to_the_bit(mode, interpolation):
    import torch
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    from robustness.models._preprocessing import like_open_clip

    values = {"size": (48, 48), "interpolation": interpolation, "resize_mode": mode}
    config = PreprocessCfg(**values)
    chain = image_transform_v2(config, is_train=False)
    images = [noise(90, 61), noise(48, 50), noise(30, 47)]
    theirs = torch.stack([chain(Image.fromarray(image).convert("RGB")) for image in images])
    settings_ = {**vars(config)}
    ours = like_open_clip(settings_)
    assert torch.equal(ours.host(images), theirs)
    assert torch.equal(on_device(ours, images), theirs)
    assert like_open_clip(settings_ | {"resize_mode": "longest"}) is None
    assert like_open_clip(settings_ | {"size": (48, 50)}) is None


def test_every_published_model_s_pixels_on_the_device():
    from robustness.models import clip, cxr_clip, cxr_repair, medclip

    images = [noise(300, 260), noise(97, 131), noise(512, 512), noise(200, 640)]
    for preprocessing in (
        clip._preprocessing(224),
        *cxr_clip.PUBLICATION.preprocessing.values(),
        medclip.PUBLICATION.preprocessing["swin"],
        cxr_repair._preprocessing(224, antialias=False),
        cxr_repair._preprocessing(224, antialias=True),
    ):
        assert_alike(preprocessing, images)


def test_the_reference_encoder_s_pixels_on_the_device():
    import torch

    from robustness.models.phantom import load

    encoder = load()
    images = [noise(300, 260), noise(97, 131), noise(300, 260)]
    found = encoder.preprocess_on_device(canvas_of(images), [image.shape for image in images])
    assert torch.equal(found, encoder.preprocess(images))
