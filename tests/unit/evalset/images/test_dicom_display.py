"""DICOM display grey levels, against a direct implementation of PS3.3 C.11.1 and C.11.2."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dicom_files import dicom, item
from support.dicom_standard import assert_nearest, by_window, each, stretched, values_of

from robustness.evalset.images.decode import decode_image

# --- windows -----------------------------------------------------------------------

FUNCTIONS = [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"]
SCALES = [(None, None), (2, -1024), (0.5, 3.25), (-1, 100)]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("stored", [8, 12, 16])
def test_windows_after_rescale(stored, signed, function, scale, photometric):
    values = values_of(stored, signed)
    slope, intercept = (1 if scale[0] is None else scale[0]), scale[1] or 0
    modality = values * float(slope) + intercept
    center, width = float(np.median(modality)), float(np.ptp(modality) / 3)
    center, width = round(center, 2), round(width, 2)
    content = dicom(
        values,
        stored=stored,
        signed=signed,
        photometric=photometric,
        RescaleSlope=scale[0],
        RescaleIntercept=scale[1],
        WindowCenter=center,
        WindowWidth=width,
        VOILUTFunction=function,
    )
    grey = each(lambda x: by_window(x, center, width, function or "LINEAR"), modality)
    assert_nearest(decode_image(content, "x"), 255 - grey if photometric == "MONOCHROME1" else grey)


@given(
    st.floats(-5000, 5000).map(lambda x: round(x, 3)),
    st.floats(0.01, 9000).map(lambda x: round(x, 3)),
    st.sampled_from(FUNCTIONS[1:]),
)
def test_any_window(center, width, function):
    values = np.arange(-2048, 2048, 7)[None]
    width = max(width, 1) if function == "LINEAR" else width
    content = dicom(
        values, signed=True, WindowCenter=center, WindowWidth=width, VOILUTFunction=function
    )
    grey = each(lambda x: by_window(x, center, width, function), values)
    assert np.abs(decode_image(content, "x") - grey).max() <= 0.5 + 1e-9


def test_a_linear_window_of_width_one_is_a_threshold():
    values = np.arange(8)[None]
    content = dicom(values, WindowCenter=4, WindowWidth=1)
    assert decode_image(content, "x").tolist() == [[0, 0, 0, 0, 255, 255, 255, 255]]


def test_first_of_several_windows_is_used():
    values = values_of(12, signed=False)
    content = dicom(values, WindowCenter=[1000, 50], WindowWidth=[800, 3])
    assert_nearest(decode_image(content, "x"), each(lambda x: by_window(x, 1000, 800), values))


def test_empty_attributes_are_ignored():
    values = values_of(12, signed=False)
    content = dicom(
        values,
        WindowCenter="",
        WindowWidth="",
        RescaleSlope="",
        RescaleIntercept="",
        VOILUTSequence=[],
        ModalityLUTSequence=[],
        PixelPaddingValue="",
    )
    assert_nearest(decode_image(content, "x"), stretched(values))


# --- neither window nor table ------------------------------------------------------


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "rle"])
@pytest.mark.parametrize("slope", [1, -2.5])
@pytest.mark.parametrize(
    ("signed", "padding", "limit"),
    [(False, 0, None), (False, 4000, 4095), (False, 4095, 4000), (True, -2000, None)],
)
def test_padding_is_ignored(signed, padding, limit, slope, syntax):
    values = values_of(12, signed, -500 if signed else 1000, 1500)
    low, high = sorted((padding, padding if limit is None else limit))
    values[:4, :5] = np.linspace(low, high, 20).round().reshape(4, 5)
    content = dicom(
        values,
        syntax,
        signed=signed,
        PixelPaddingValue=padding,
        PixelPaddingRangeLimit=limit,
        RescaleSlope=slope,
        RescaleIntercept=7,
    )
    modality = values * float(slope) + 7
    counted = modality[(values < low) | (values > high)]
    assert_nearest(decode_image(content, "x"), stretched(modality, counted))


def test_padding_is_windowed_like_any_value():
    values = values_of(12, signed=False)
    content = dicom(values, PixelPaddingValue=0, WindowCenter=2000, WindowWidth=3000)
    assert_nearest(decode_image(content, "x"), each(lambda x: by_window(x, 2000, 3000), values))


@pytest.mark.parametrize(("photometric", "grey"), [("MONOCHROME1", 255), ("MONOCHROME2", 0)])
@pytest.mark.parametrize("padding", [None, 700])
def test_flat_images(photometric, grey, padding):
    content = dicom(np.full((12, 11), 700), photometric=photometric, PixelPaddingValue=padding)
    assert (decode_image(content, "x") == grey).all()


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
    ],
)
def test_inversion(photometric, shape, inverted):
    values = values_of(12, signed=False)
    content = dicom(values, photometric=photometric, PresentationLUTShape=shape)
    grey = stretched(values)
    assert_nearest(decode_image(content, "x"), 255 - grey if inverted else grey)


# --- enhanced images ---------------------------------------------------------------


@pytest.mark.parametrize("groups", ["Shared", "PerFrame"])
@pytest.mark.parametrize("syntax", ["implicit", "explicit"])
def test_functional_groups_of_one_frame(syntax, groups):
    values = values_of(12, signed=False)
    group = item(
        PixelValueTransformationSequence=[
            item(RescaleSlope=2, RescaleIntercept=-100, RescaleType="US")
        ],
        FrameVOILUTSequence=[item(WindowCenter=3000, WindowWidth=2000, VOILUTFunction="SIGMOID")],
    )
    content = dicom(
        values, syntax, NumberOfFrames=1, **{f"{groups}FunctionalGroupsSequence": [group]}
    )
    grey = each(lambda x: by_window(2 * x - 100, 3000, 2000, "SIGMOID"), values)
    assert_nearest(decode_image(content, "x"), grey)
