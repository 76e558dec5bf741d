"""DICOM pixel storage (PS3.5); the display of pixels is in test_dicom_display."""

from __future__ import annotations

import base64

import imagecodecs
import numpy as np
import pytest
from support.dicom_files import LOSSLESS, NATIVE, dicom, encoded
from support.dicom_standard import assert_nearest, by_window, each, stretched, values_of

from robustness.evalset.images.decode import decode_image


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("stored", [8, 12, 16])
@pytest.mark.parametrize("syntax", [*NATIVE, *LOSSLESS])
def test_pixels_equal_the_stored_values(syntax, stored, signed, photometric):
    values = values_of(stored, signed)
    content = dicom(values, syntax, stored=stored, signed=signed, photometric=photometric)
    inverted = photometric == "MONOCHROME1"
    assert_nearest(decode_image(content, "x"), stretched(values, inverted=inverted))
    # A narrow window around one value at a time checks exact values, not only 256 levels.
    center = float(values[4, 3])
    content = dicom(
        values,
        syntax,
        stored=stored,
        signed=signed,
        photometric=photometric,
        WindowCenter=center,
        WindowWidth=255,
        VOILUTFunction="LINEAR_EXACT",
    )
    grey = each(lambda x: by_window(x, center, 255, "LINEAR_EXACT"), values)
    assert_nearest(decode_image(content, "x"), 255 - grey if inverted else grey)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("allocated", "stored", "high"),
    [(8, 8, 7), (8, 5, 4), (8, 4, 7), (16, 12, 11), (16, 12, 15), (16, 10, 12), (16, 1, 0)],
)
@pytest.mark.parametrize("syntax", [*NATIVE, "rle", "jpeg lossless 1", "jpeg-ls"])
def test_unused_bits_are_ignored(syntax, allocated, stored, high, signed):
    values = values_of(stored, signed)
    junk = np.random.default_rng(1).integers(0, 2**16, values.shape)
    # A codestream of all allocated bits includes the unused bits.
    frame = None
    if syntax not in NATIVE:
        words = dicom_words(values, allocated, stored, high, junk)
        frame = encoded(syntax, words, allocated)
    content = dicom(
        values,
        syntax,
        allocated=allocated,
        stored=stored,
        high=high,
        signed=signed,
        junk=junk,
        frame=frame,
    )
    assert_nearest(decode_image(content, "x"), stretched(values))


def dicom_words(values, allocated, stored, high, junk):
    shift = high + 1 - stored
    words = [
        (int(v) % 2**stored << shift) | (int(j) % 2**allocated & ~((2**stored - 1) << shift))
        for v, j in zip(values.flat, junk.flat, strict=True)
    ]
    return np.array(words, f"u{allocated // 8}").reshape(values.shape)


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("shape", [(8, 8), (5, 7)])
def test_one_bit_is_black_and_white(syntax, shape):
    values = np.random.default_rng(0).integers(0, 2, shape)
    image = decode_image(dicom(values, syntax, stored=1, allocated=1), "x")
    assert image.tolist() == (values * 255).tolist()


def test_eight_bits_in_big_endian_words():
    values = values_of(8, signed=False, shape=(4, 6))
    data = values.astype(np.uint8).reshape(-1, 2)[:, ::-1].tobytes()
    content = dicom(values, "big endian", stored=8, PixelData=data)
    at = content.index(b"\x7f\xe0\x00\x10OB")
    content = content[: at + 4] + b"OW" + content[at + 6 :]
    assert_nearest(decode_image(content, "x"), stretched(values))


@pytest.mark.parametrize("signed", [False, True])
def test_sign_comes_from_the_file_header(signed):
    """Some encoders write the wrong sign to the JPEG 2000 header."""
    values = values_of(12, signed)
    words = values.astype(np.int16)
    if signed:
        words = (words % 4096).astype(np.uint16)
    else:
        words = ((words + 2048) % 4096 - 2048).astype(np.int16)
    frame = encoded("jpeg 2000 lossless", words, 12)
    content = dicom(values, "jpeg 2000 lossless", signed=signed, frame=frame)
    assert_nearest(decode_image(content, "x"), stretched(values))


def test_signed_codestreams_of_signed_values():
    values = values_of(12, signed=True)
    frame = encoded("jpeg 2000 lossless", values.astype(np.int16), 12)
    content = dicom(values, "jpeg 2000 lossless", signed=True, frame=frame)
    assert_nearest(decode_image(content, "x"), stretched(values))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", ["jpeg lossless 1", "jpeg 2000 lossless"])
def test_a_codestream_of_the_stored_bits_alone(syntax, signed):
    """The file header places them at the top of a word; the codestream has no unused bits."""
    values = values_of(12, signed)
    frame = encoded(syntax, (values % 4096).astype(np.uint16), 12)
    content = dicom(values, syntax, high=15, signed=signed, frame=frame)
    assert_nearest(decode_image(content, "x"), stretched(values))


@pytest.mark.parametrize("syntax", ["jpeg-ls", "jpeg 2000 lossless"])
def test_the_sign_is_the_highest_bit_of_the_codestream(syntax):
    values = values_of(8, signed=True)
    frame = encoded(syntax, (values % 256).astype(np.uint8), 8)
    content = dicom(values, syntax, stored=16, signed=True, frame=frame)
    assert_nearest(decode_image(content, "x"), stretched(values))


HTJ2K = base64.b64decode(
    "/0//UQApQAAAAAAIAAAACAAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUE"
    "BEAB/1wAEyCIkJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAF8AAf+TwAAm"
    "OdwEh3QAAADAABNAABMAYuQEB3QAJCMFh3QAwAATwAAVAPABHwOCdACSj5KPAUNUAMAAKqAAFYD4448//qpygnUA"
    "zr/zd/7OwIQB7LYA/9k="
)
"""Lossless output of OpenJPH 0.26.3 for ``arange(64).reshape(8, 8) * 1021``."""


def test_high_throughput_jpeg_2000():
    values = np.arange(64).reshape(8, 8) * 1021
    content = dicom(values, "htj2k lossless", stored=16, frame=HTJ2K)
    assert_nearest(decode_image(content, "x"), stretched(values))


def test_jpeg_2000_in_a_file_of_its_own():
    values = values_of(16, signed=False)
    frame = imagecodecs.jpeg2k_encode(
        values.astype(np.uint16), level=0, reversible=True, codecformat="JP2"
    )
    content = dicom(values, "jpeg 2000 lossless", stored=16, frame=frame)
    assert_nearest(decode_image(content, "x"), stretched(values))


def smooth(stored):
    y, x = np.mgrid[:64, :48]
    return ((np.sin(x / 9) * np.cos(y / 11) + 1) / 2 * (2**stored - 1)).round().astype(np.int64)


@pytest.mark.parametrize(
    ("syntax", "stored"),
    [
        ("jpeg baseline", 8),
        ("jpeg extended", 12),
        ("jpeg-ls near", 8),
        ("jpeg-ls near", 12),
        ("jpeg 2000", 8),
        ("jpeg 2000", 12),
        ("jpeg 2000", 16),
    ],
)
def test_lossy_pixels_are_near(syntax, stored):
    values = smooth(stored)
    top = 2**stored - 1
    content = dicom(
        values,
        syntax,
        stored=stored,
        WindowCenter=top / 2,
        WindowWidth=top,
        VOILUTFunction="LINEAR_EXACT",
    )
    image = decode_image(content, "x")
    grey = each(lambda x: by_window(x, top / 2, top, "LINEAR_EXACT"), values)
    assert np.abs(image - grey).max() <= 3


@pytest.mark.parametrize("signed", [False, True])
def test_values_outside_the_range_after_loss_are_clipped(signed):
    values = values_of(12, signed)
    beyond = np.where(values == values.max(), values.max() + 9, values)
    beyond = np.where((values == values.min()) & signed, values.min() - 9, beyond)
    frame = encoded("jpeg 2000 lossless", beyond.astype(np.int16 if signed else np.uint16), 16)
    content = dicom(values, "jpeg 2000", signed=signed, frame=frame)
    assert_nearest(decode_image(content, "x"), stretched(values))


# --- files -------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", ["implicit", "explicit"])
def test_file_without_preamble_is_recognised_by_suffix(syntax):
    values = values_of(12, signed=False)
    content = dicom(values, syntax, meta=False)
    assert_nearest(decode_image(content, "x.DCM"), stretched(values))


def test_invalid_metadata_is_ignored():
    values = values_of(12, signed=False)
    content = dicom(values, PatientName="x" * 60, StudyDate="20200101", PatientAge="004Y")
    content = content.replace(b"20200101", b"yester  ").replace(b"004Y", b"old ")
    assert_nearest(decode_image(content, "x"), stretched(values))
