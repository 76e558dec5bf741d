"""Tests of the shared preprocessing against Pillow in RGB and torchvision's transforms."""

from __future__ import annotations

import numpy as np
import pytest
from support.published_clip import picture

SIZES = [(97, 131), (131, 97), (224, 224), (225, 223), (320, 321), (1024, 1024), (2500, 2048)]
MEAN, STD = (0.481, 0.457, 0.408), (0.268, 0.261, 0.275)


@pytest.mark.parametrize("filter_name", ["BILINEAR", "BICUBIC", "LANCZOS"])
@pytest.mark.parametrize("size", SIZES)
def test_resize_equals_each_channel_of_rgb(size, filter_name):
    from PIL import Image

    from robustness.models._pixels import resize

    image = picture(*size)
    filter_ = Image.Resampling[filter_name]
    rgb = Image.fromarray(image).convert("RGB").resize((200, 150), filter_)
    ours = resize(image, 150, 200, filter_)
    assert ours.dtype == np.uint8
    assert (np.asarray(rgb) == ours[..., None]).all()


@pytest.mark.parametrize("filter_name", ["BILINEAR", "BICUBIC"])
@pytest.mark.parametrize("size", SIZES)
def test_short_side_and_crop_equal_torchvision(size, filter_name):
    from PIL import Image
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    from robustness.models._pixels import center_crop, resize_short_side

    image = picture(*size)
    mode = InterpolationMode[filter_name]
    chain = Compose([Resize(224, mode), CenterCrop(224)])
    ours = resize_short_side(image, 224, Image.Resampling[filter_name])
    resized = Resize(224, mode)(Image.fromarray(image).convert("RGB"))
    assert ours.shape == (resized.height, resized.width)
    theirs = np.asarray(chain(Image.fromarray(image).convert("RGB")))
    assert (theirs == center_crop(ours, 224)[..., None]).all()


@pytest.mark.parametrize("height", [7, 8, 9, 12])
@pytest.mark.parametrize("width", [5, 8, 11, 13])
def test_crop_of_odd_and_small_images_equals_torchvision(height, width):
    from PIL import Image
    from torchvision.transforms import CenterCrop

    from robustness.models._pixels import center_crop

    image = picture(height, width)
    assert (np.asarray(CenterCrop(8)(Image.fromarray(image))) == center_crop(image, 8)).all()


@pytest.mark.parametrize("size", [(5, 8), (6, 3), (8, 8), (1, 7)])
def test_padding_equals_pasting(size):
    from PIL import Image

    from robustness.models._pixels import pad_centred

    image = picture(*size)
    canvas = Image.new("L", (8, 8))
    canvas.paste(Image.fromarray(image), ((8 - size[1]) // 2, (8 - size[0]) // 2))
    assert (np.asarray(canvas) == pad_centred(image, 8)).all()


def test_normalise_equals_torchvision():
    import torch
    from PIL import Image
    from torchvision.transforms import Compose, Normalize, ToTensor

    from robustness.models._pixels import normalise

    images = [picture(32, 48), picture(32, 48)[::-1]]
    chain = Compose([ToTensor(), Normalize(MEAN, STD)])
    theirs = torch.stack([chain(Image.fromarray(image).convert("RGB")) for image in images])
    ours = normalise(images, MEAN, STD)
    assert ours.dtype == torch.float32
    assert (ours - theirs).abs().max() < 1e-6


def test_a_scale_of_one_keeps_grey_levels():
    from robustness.models._pixels import normalise

    image = np.array([[0, 255]], dtype=np.uint8)
    ours = normalise([image], (100.0,) * 3, (80.0,) * 3, scale=1)
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
    from robustness.models._pixels import check

    with pytest.raises(ValueError, match=r"^image 1 is .*; an image is uint8 \[height, width\]"):
        check([np.zeros((4, 4), dtype=np.uint8), image])
