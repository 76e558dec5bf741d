"""Decoding of PNG, JPEG, TIFF, PGM and BMP to uint8 greyscale (DICOM: test_dicom)."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PilImage
from support.dicom_standard import luma, stretched
from support.image_files import COLOUR, DEEP, GREY, RANDOM, assert_stretched, png, saved, tiff

from robustness.evalset import read_image
from robustness.evalset.images.decode import decode_image

# --- greyscale and colour ----------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_greyscale_is_unchanged(kind, tmp_path):
    (tmp_path / "x").write_bytes(saved(GREY, kind))
    image = read_image(tmp_path / "x")
    assert image.dtype == np.uint8
    assert (image == GREY).all()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_colour_becomes_luma(kind):
    assert np.abs(decode_image(saved(COLOUR, kind), "x") - luma(COLOUR)).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM"])
def test_one_bit_is_black_and_white(kind):
    bits = GREY > 127
    image = decode_image(saved(PilImage.fromarray(bits), kind), "x")
    assert (image == np.where(bits, 255, 0)).all()


@pytest.mark.parametrize("depth", [2, 4])
def test_greyscale_of_a_few_bits(depth):
    values = RANDOM.integers(0, 2**depth, (5, 8))
    rows = [
        np.packbits((row[:, None] >> np.arange(depth)[::-1] & 1).astype(np.uint8)).tobytes()
        for row in values
    ]
    image = decode_image(png(rows, (8, 5), depth, 0), "x")
    assert (image == values * 255 // (2**depth - 1)).all()


@pytest.mark.parametrize("transparency", [None, 0, b"\x00\x80\xff" * 20])
def test_palettes(transparency):
    image = PilImage.fromarray(GREY % 60).convert("L")
    image.putpalette(COLOUR.reshape(-1, 3)[:60].tobytes())
    options = {} if transparency is None else {"transparency": transparency}
    for kind in ("PNG", "BMP", "TIFF") if transparency is None else ("PNG",):
        expected = luma(COLOUR.reshape(-1, 3)[GREY % 60])
        assert np.abs(decode_image(saved(image, kind, **options), "x") - expected).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_alpha_is_ignored(kind):
    alpha = PilImage.fromarray(RANDOM.integers(0, 256, GREY.shape, dtype=np.uint8))
    grey = PilImage.merge("LA", [PilImage.fromarray(GREY), alpha])
    assert (decode_image(saved(grey, kind), "x") == GREY).all()
    colour = PilImage.fromarray(COLOUR)
    colour.putalpha(alpha)
    assert np.abs(decode_image(saved(colour, kind), "x") - luma(COLOUR)).max() <= 1


def test_transparent_colour_is_ignored():
    for content, expected in (
        (saved(GREY, "PNG", transparency=int(GREY[0, 0])), GREY),
        (saved(COLOUR, "PNG", transparency=tuple(COLOUR[0, 0].tolist())), luma(COLOUR)),
    ):
        assert np.abs(decode_image(content, "x") - expected).max() <= 1


@pytest.mark.parametrize("depth", [8, 16])
def test_interlaced_png(depth):
    """Adam7 passes: (first row, first column, row step, column step)."""
    values = RANDOM.integers(0, 2**depth, (11, 13)).astype(f">u{depth // 8}")
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    rows = [
        row.tobytes() for y, x, dy, dx in [*passes, (1, 0, 2, 1)] for row in values[y::dy, x::dx]
    ]
    content = png(rows, (13, 11), depth, 0, interlaced=1)
    if depth == 8:
        assert (decode_image(content, "x") == values).all()
    else:
        assert_stretched(content, values)


@pytest.mark.parametrize("quality", [60, 95])
def test_jpeg_is_the_luma_it_stores(quality):
    content = saved(GREY, "JPEG", quality=quality)
    assert (decode_image(content, "x") == np.array(PilImage.open(io.BytesIO(content)))).all()
    content = saved(COLOUR, "JPEG", quality=quality, subsampling=0)
    drafted = PilImage.open(io.BytesIO(content))
    drafted.draft("YCbCr", drafted.size)
    assert (decode_image(content, "x") == np.array(drafted)[..., 0]).all()
    content = saved(COLOUR, "JPEG", quality=quality, keep_rgb=True)
    colours = np.array(PilImage.open(io.BytesIO(content)))
    assert np.abs(decode_image(content, "x") - luma(colours)).max() <= 1


def test_cmyk_jpeg():
    content = saved(PilImage.fromarray(COLOUR).convert("CMYK"), "JPEG", quality=98)
    cmyk = np.array(PilImage.open(io.BytesIO(content))).astype(float)
    colours = (255 - cmyk[..., :3]) * (255 - cmyk[..., 3:]) / 255
    assert np.abs(decode_image(content, "x") - luma(colours)).max() <= 2


# --- more than 8 bits --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_by_their_range_and_not_clipped(kind):
    for values in (DEEP, DEEP * 16, DEEP // 600, RANDOM.integers(0, 65536, (9, 7), np.uint16)):
        assert_stretched(saved(values.astype(np.uint16), kind), values.astype(np.int64))


@given(st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 2**32 - 1))
def test_any_range_of_sixteen_bits(first, second, seed):
    low, high = sorted((first, second))
    values = np.random.default_rng(seed).integers(low, high + 1, (4, 5)).astype(np.uint16)
    image = decode_image(saved(values, "PNG"), "x")
    if values.min() == values.max():
        assert (image == 0).all()
    else:
        assert np.abs(image - stretched(values.astype(np.int64))).max() <= 0.5 + 1e-9
        assert image.min() == 0
        assert image.max() == 255


def test_a_flat_image_of_sixteen_bits_is_black():
    for kind in ("PNG", "TIFF"):
        flat = np.full((4, 4), 700, np.uint16)
        assert (decode_image(saved(flat, kind), "x") == 0).all()


@pytest.mark.parametrize("name", ["<u2", "<i2", "<u4", "<i4", "<f4"])
def test_tiff_samples(name):
    values = RANDOM.integers(0, 30000, (9, 7)).astype(np.int64)
    if name[1] == "u":
        values *= 2 if name == "<u2" else 2**17  # above the signed maximum
    else:
        values -= 20000
    data = values.astype(name)
    sample = {"u": 1, "i": 2, "f": 3}[name[1]]
    content = tiff(data.tobytes(), (7, 9), 8 * data.itemsize, sample=sample)
    assert_stretched(content, values)


def test_tiff_written_by_pillow():
    assert_stretched(saved(DEEP.astype(np.int32) - 2000, "TIFF"), DEEP.astype(np.int64))
    assert_stretched(saved(DEEP.astype(np.float32) / 7, "TIFF"), DEEP.astype(np.int64))
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        content = saved(DEEP, "TIFF", compression=compression)
        assert_stretched(content, DEEP.astype(np.int64))
    big = DEEP.astype(">u2")
    content = saved(PilImage.frombytes("I;16B", (7, 9), big.tobytes()), "TIFF")
    assert_stretched(content, DEEP.astype(np.int64))


@pytest.mark.parametrize("bits", [8, 16])
def test_white_is_zero(bits):
    values = GREY if bits == 8 else DEEP
    content = tiff(values.astype(f"<u{bits // 8}").tobytes(), (7, 9), bits, photometric=0)
    image = decode_image(content, "x")
    expected = GREY if bits == 8 else stretched(DEEP.astype(np.int64))
    assert np.abs(image - (255 - expected)).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("top", [255, 1023, 4095, 65535])
def test_pgm_of_any_maximum(top):
    values = RANDOM.integers(0, top + 1, (9, 7))
    values[0, :2] = 0, top
    head = f"P5 7 9 {top}\n".encode()
    content = head + values.astype(">u2" if top > 255 else np.uint8).tobytes()
    assert np.abs(decode_image(content, "x") - stretched(values)).max() <= 0.5 + 1e-6
    plain = f"P2 7 9 {top}\n".encode() + " ".join(map(str, values.flat)).encode()
    assert np.abs(decode_image(plain, "x") - stretched(values)).max() <= 0.5 + 1e-6
