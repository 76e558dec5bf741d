"""The DICOM files in the pydicom wheel: decoded as by pydicom, or refused.

Files that pydicom would download are not used.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from support.dicom_standard import luma

from robustness.errors import EvaluationSetError
from robustness.evalset.images.decode import decode_image

FOLDER = Path(pydicom.__file__).parent / "data" / "test_files"

GREY = [
    *("693_J2KI", "CT_small", "J2K_pixelrep_mismatch", "JPEG2000", "examples_overlay", "image_dfl"),
    *("liver_1frame", "liver_expb_1frame", "MR_small", "MR_small_RLE", "MR_small_bigendian"),
    *("MR_small_expb", "MR_small_implicit", "MR_small_jp2klossless", "MR_small_padded"),
]

RGB = [
    *("ExplVR_BigEnd", "SC_jpeg_no_color_transform", "SC_jpeg_no_color_transform_2"),
    *("SC_rgb_dcmtk_+eb+cr", "SC_rgb_gdcm_KY", "SC_rgb_jpeg_app14_dcmd", "SC_rgb_jpeg_dcmd"),
    *("SC_rgb_rle", "SC_rgb_small_odd", "SC_rgb_small_odd_big_endian"),
    *("examples_jpeg2k", "examples_rgb_color"),
]

LUMA = [
    *(f"SC_rgb_dcmtk_+eb+cy+{kind}" for kind in ("n1", "n2", "np", "s2", "s4")),
    *("SC_rgb_jpeg_dcmtk", "SC_rgb_jpeg_lossy_gdcm", "SC_rgb_small_odd_jpeg"),
    *("SC_ybr_full_422_uncompressed", "SC_rgb_jpeg"),  # RGB by its header, not by Adobe's marker
]

TWINS = {
    "MR_small_jpeg_ls_lossless": ("MR_small", 0),
    "SC_rgb_jpeg_gdcm": ("SC_rgb_rle", 0),
    "SC_rgb_jls_lossy_line": ("SC_rgb_rle", 3),
    "SC_rgb_jls_lossy_sample": ("SC_rgb_rle", 3),
    "JPEG-lossy": ("JPGExtended", 0),
}
"""Files that pydicom reads only with optional packages: another file with the same image, and the
allowed difference."""

REFUSED = {
    "JPEG2000-embedded-sequence-delimiter": "its JPEG 2000 codestream has more than 4096 tiles",
    "MR_truncated": "The number of bytes of pixel data is less than expected",
    "SC_rgb_rle_16bit": "it has 16 bits stored of 16 allocated; allowed for RGB are 8",
    "SC_rgb_rle_16bit_2frame": "it has 2 frames; allowed is one",
    "SC_rgb_rle_2frame": "it has 2 frames; allowed is one",
    "SC_rgb_rle_32bit": "it has 32 bits stored of 32 allocated; allowed for RGB are 8",
    "SC_rgb_rle_32bit_2frame": "it has 2 frames; allowed is one",
    "badVR": "it has 1A frames; allowed is one",
    "examples_ybr_color": "it has 30 frames; allowed is one",
    "meta_missing_tsyntax": "its Columns is missing",
    "nested_priv_SQ": "its Columns is missing",
    "rtdose": "it has 15 frames; allowed is one",
    "rtdose_1frame": "it has 32 bits stored of 32 allocated; allowed for MONOCHROME2 are 1, 8, 16",
    "rtdose_expb": "it has 15 frames; allowed is one",
    "rtdose_expb_1frame": "it has 32 bits stored of 32 allocated",
    "rtdose_rle": "it has 15 frames; allowed is one",
    "rtdose_rle_1frame": "it has 32 bits stored of 32 allocated",
}

ALONE = ["GDCMJ2K_TextGBR", "JPEGLSNearLossless_08", "JPEGLSNearLossless_16", "JPGExtended"]
PALETTE = ["examples_palette"]
TABLE = {*GREY, *RGB, *LUMA, *TWINS, *REFUSED, *ALONE, *PALETTE}


def content(name):
    return (FOLDER / f"{name}.dcm").read_bytes()


def by_pydicom(name, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # metadata warnings
        dataset = pydicom.dcmread(FOLDER / f"{name}.dcm", force=True)
        dataset.pixel_array_options(**options)
        return dataset, dataset.pixel_array


@pytest.mark.parametrize("name", GREY)
def test_grey_images_equal_pydicom(name):
    dataset, stored = by_pydicom(name)
    values = apply_modality_lut(stored, dataset).astype(np.float64)
    low, high = values.min(), values.max()
    if "WindowCenter" in dataset:
        # pydicom spreads the output of a window over the range of stored values, rescaled.
        bits, signed = dataset.BitsStored, dataset.PixelRepresentation
        slope, intercept = dataset.get("RescaleSlope", 1), dataset.get("RescaleIntercept", 0)
        ends = np.array([0, 2**bits - 1]) - (2 ** (bits - 1) if signed else 0)
        low, high = ends * float(slope) + float(intercept)
        values = apply_voi_lut(values, dataset)
    elif "PixelPaddingValue" in dataset:
        counted = values[stored != dataset.PixelPaddingValue]
        low, high = counted.min(), counted.max()
    expected = np.clip((values - low) / (high - low) * 255, 0, 255)
    assert np.abs(decode_image(content(name), name) - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("name", RGB)
def test_colour_becomes_luma(name):
    _, colours = by_pydicom(name)
    assert np.abs(decode_image(content(name), name) - luma(colours)).max() <= 0.51


@pytest.mark.parametrize("name", LUMA)
def test_stored_luma_is_unchanged(name):
    _, stored = by_pydicom(name, raw=True)
    assert (decode_image(content(name), name) == stored[..., 0]).all()


@pytest.mark.parametrize(("name", "twin", "tolerance"), [(k, *v) for k, v in TWINS.items()])
def test_same_image_in_another_encoding(name, twin, tolerance):
    image, other = (decode_image(content(n), n).astype(int) for n in (name, twin))
    assert np.abs(image - other).max() <= tolerance


def test_a_palette():
    dataset, stored = by_pydicom("examples_palette")
    colours = pydicom.pixels.apply_color_lut(stored, dataset) / 257
    image = decode_image(content("examples_palette"), "x")
    assert np.abs(image - luma(colours)).max() <= 1.5


def test_near_lossless_bands():
    """Bands five rows high; the encoded values are given in the tests of pydicom."""
    image = decode_image(content("JPEGLSNearLossless_08"), "x")
    assert image[::5, 0].tolist() == [255, 125, 65, 30, 15, 5, 5, 0, 0]
    image = decode_image(content("JPEGLSNearLossless_16"), "x")
    expected = [2**n / 257 for n in (16, 15, 14, 12, 10, 8, 6, 4, 2, 0)]
    assert np.abs(image[::5, 0] - np.array(expected)).max() <= 1


def test_twelve_bit_jpeg():
    """Two pixels with the values 244 and 95, as given in the tests of pydicom."""
    image = decode_image(content("JPGExtended"), "x")
    assert image.shape == (1024, 256)
    assert abs(int(image[420, 140]) / int(image[230, 120]) - 244 / 95) < 0.1


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_files_are_refused(name):
    with pytest.raises(EvaluationSetError) as caught:
        decode_image(content(name), f"{name}.dcm")
    message = str(caught.value)
    assert message.startswith(f"image {name}.dcm cannot be decoded: {REFUSED[name]}")
    assert "\n" not in message


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.dcm")), ids=lambda path: path.stem)
def test_every_file_is_in_the_table_or_refused(path):
    """New files of later pydicom versions must also be decoded or refused in one line."""
    message = ""
    try:
        image = decode_image(path.read_bytes(), path.name)
    except EvaluationSetError as error:
        message = str(error)
    if message:
        assert path.name in message
        assert "\n" not in message
        assert path.stem in REFUSED or (path.stem not in TABLE and "no PixelData" in message)
    else:
        assert image.dtype == np.uint8
        assert image.ndim == 2
        assert path.stem not in REFUSED


def test_the_table_names_every_file_with_pixels():
    tags = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
    found = {p.stem for p in FOLDER.glob("*.dcm") if any(tag in p.read_bytes() for tag in tags)}
    assert found | {"image_dfl"} >= TABLE  # deflated, so its tags are not found by a byte search
