"""Tests of the shared preprocessing against Pillow in RGB and torchvision's transforms."""

from __future__ import annotations

import numpy as np
import pytest
from support.published_clip import picture

from robustness.models._preprocessing import (
    BlackSquare,
    Letterbox,
    Preprocessing,
    ShortSide,
    Squash,
    check,
)

SIZES = [(97, 131), (131, 97), (224, 224), (225, 223), (320, 321), (1024, 1024), (2500, 2048)]
MEAN, STD = (0.481, 0.457, 0.408), (0.268, 0.261, 0.275)


@pytest.mark.parametrize("filter_name", ["BILINEAR", "BICUBIC", "LANCZOS"])
@pytest.mark.parametrize("size", SIZES)
def test_resize_equals_each_channel_of_rgb(size, filter_name):
    from PIL import Image

    image = picture(*size)
    filter_ = Image.Resampling[filter_name]
    rgb = Image.fromarray(image).convert("RGB").resize((200, 200), filter_)
    ours = Squash(200, filter_name.lower()).square(image)
    assert ours.dtype == np.uint8
    assert (np.asarray(rgb) == ours[..., None]).all()


@pytest.mark.parametrize("filter_name", ["BILINEAR", "BICUBIC"])
@pytest.mark.parametrize("size", SIZES)
def test_short_side_and_crop_equal_torchvision(size, filter_name):
    from PIL import Image
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    image = picture(*size)
    mode = InterpolationMode[filter_name]
    chain = Compose([Resize(224, mode), CenterCrop(224)])
    geometry = ShortSide(224, filter_name.lower())
    resized = Resize(224, mode)(Image.fromarray(image).convert("RGB"))
    rows, columns = geometry.axes(*size)
    assert (rows.resized, columns.resized) == (resized.height, resized.width)
    theirs = np.asarray(chain(Image.fromarray(image).convert("RGB")))
    assert (theirs == geometry.square(image)[..., None]).all()


@pytest.mark.parametrize("tall", [False, True])
@pytest.mark.parametrize("length", range(8, 20))
def test_crop_of_odd_lengths_equals_torchvision(length, tall):
    from PIL import Image
    from torchvision.transforms import CenterCrop

    image = picture(*((length, 8) if tall else (8, length)))
    theirs = np.asarray(CenterCrop(8)(Image.fromarray(image)))
    assert (theirs == ShortSide(8, "bicubic").square(image)).all()


@pytest.mark.parametrize("size", [(5, 8), (6, 3), (8, 8), (1, 7), (8, 3)])
def test_padding_equals_pasting(size):
    from PIL import Image

    image = picture(*size)
    canvas = Image.new("L", (8, 8))
    canvas.paste(Image.fromarray(image), ((8 - size[1]) // 2, (8 - size[0]) // 2))
    assert (np.asarray(canvas) == BlackSquare(8, "bicubic").square(image)).all()
    if max(size) == 8:
        assert (np.asarray(canvas) == Letterbox(8, "bicubic").square(image)).all()


def test_normalise_equals_torchvision():
    import torch
    from PIL import Image
    from torchvision.transforms import Compose, Normalize, ToTensor

    images = [picture(48, 48), picture(48, 48)[::-1]]
    chain = Compose([ToTensor(), Normalize(MEAN, STD)])
    theirs = torch.stack([chain(Image.fromarray(image).convert("RGB")) for image in images])
    ours = Preprocessing(Squash(48, "bicubic"), MEAN, STD).host(images)
    assert ours.dtype == torch.float32
    assert (ours - theirs).abs().max() < 1e-6


def test_a_scale_of_one_keeps_grey_levels():
    image = np.array([[0, 255], [0, 255]], dtype=np.uint8)
    ours = Preprocessing(Squash(2, "bicubic"), (100.0,) * 3, (80.0,) * 3, scale=1).host([image])
    assert ours[0, :, 0, 0].tolist() == [-1.25] * 3
    assert ours[0, :, 0, 1].tolist() == [155 / 80] * 3


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), dtype=np.uint16),
        np.zeros((4, 4, 3), dtype=np.uint8),
        np.zeros((0, 4), dtype=np.uint8),
        np.zeros((4, 4), dtype=np.float32),
    ],
)
def test_invalid_images_are_refused(image):
    with pytest.raises(
        ValueError, match=r"^image 1 is .*; an image must be uint8 \[height, width\]"
    ):
        check([np.zeros((4, 4), dtype=np.uint8), image])
