"""DICOM colour to luma, and palettes (PS3.3 C.7.6.3.1)."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image as PilImage
from support.dicom_files import LOSSLESS, NATIVE, dicom
from support.dicom_standard import luma

from robustness.evalset.images.decode import decode_image

COLOURS = np.random.default_rng(2).integers(0, 256, (9, 7, 3))


@pytest.mark.parametrize("syntax", [*NATIVE, *LOSSLESS])
def test_colour_becomes_luma(syntax):
    space = "YBR_RCT" if syntax == "jpeg 2000 lossless" else "RGB"
    content = dicom(COLOURS, syntax, stored=8, photometric=space)
    assert np.abs(decode_image(content, "x") - luma(COLOURS)).max() <= 1


@pytest.mark.parametrize("syntax", ["explicit", "rle", "jpeg lossless", "jpeg-ls"])
def test_stored_luma_is_unchanged(syntax):
    content = dicom(COLOURS, syntax, stored=8, photometric="YBR_FULL")
    assert (decode_image(content, "x") == COLOURS[..., 0]).all()


def test_luma_of_jpeg_2000_without_its_transform():
    frame = imagecodecs.jpeg2k_encode(
        COLOURS.astype(np.uint8), level=0, reversible=True, codecformat="J2K", mct=False
    )
    content = dicom(COLOURS, "jpeg 2000 lossless", stored=8, photometric="YBR_FULL", frame=frame)
    assert (decode_image(content, "x") == COLOURS[..., 0]).all()


def test_planes_one_after_the_other():
    data = np.moveaxis(COLOURS, -1, 0).astype(np.uint8).tobytes() + b"\0"
    content = dicom(COLOURS, stored=8, photometric="RGB", PlanarConfiguration=1, PixelData=data)
    assert np.abs(decode_image(content, "x") - luma(COLOURS)).max() <= 1


def test_halved_chroma():
    values = np.random.default_rng(3).integers(0, 256, (4, 6, 2))
    data = np.stack(  # two pixels: Y Y Cb Cr
        [values[:, ::2, 0], values[:, 1::2, 0], values[:, ::2, 1], values[:, 1::2, 1]], axis=-1
    )
    content = dicom(
        np.zeros((4, 6, 3), np.int64),
        stored=8,
        photometric="YBR_FULL_422",
        PixelData=data.astype(np.uint8).tobytes(),
    )
    assert (decode_image(content, "x") == values[..., 0]).all()


@pytest.mark.parametrize("space", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("adobe", [False, True])
def test_jpeg_in_colour(space, adobe):
    """The Adobe marker names the colour space, or else the file header does."""
    y, x = np.mgrid[:48, :32]
    colours = np.stack([x * 8 % 256, y * 5 % 256, (x + y) * 3 % 256], axis=-1)
    held = io.BytesIO()
    PilImage.fromarray(colours.astype(np.uint8)).save(
        held, "JPEG", quality=98, subsampling=0, keep_rgb=space == "RGB"
    )
    frame = held.getvalue()
    marker = frame.find(b"Adobe")
    assert (marker > 0) == (space == "RGB")  # Pillow writes the marker only if it keeps RGB
    if space == "RGB" and not adobe:
        frame = frame[: marker - 4] + frame[marker + 12 :]
        # Component ids R, G and B would also name the space.
        frame = frame.replace(b"R\x11\0G\x11\0B\x11\0", b"\1\x11\0\2\x11\0\3\x11\0")
        frame = frame.replace(b"\xda\0\x0c\3R\0G\0B\0", b"\xda\0\x0c\3\1\0\2\0\3\0")
        assert not {*b"RGB"} & {*frame[frame.index(b"\xff\xc0") :][10:19:3]}
    if space != "RGB" and adobe:
        frame = frame[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\1" + frame[2:]
    wrong = "YBR_FULL" if space == "RGB" else "RGB"
    content = dicom(
        colours, "jpeg baseline", stored=8, photometric=wrong if adobe else space, frame=frame
    )
    reference = np.array(PilImage.open(io.BytesIO(held.getvalue())).convert("RGB"))
    assert np.abs(decode_image(content, "x") - luma(reference)).max() <= 2


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize(("bits", "first"), [(16, 0), (16, 10), (8, 0)])
def test_palettes(syntax, bits, first):
    values = np.random.default_rng(4).integers(0, 256, (9, 7))
    table = np.random.default_rng(5).integers(0, 2**bits, (200, 3))
    attributes = {}
    for n, colour in enumerate(("Red", "Green", "Blue")):
        name = f"{colour}PaletteColorLookupTable"
        attributes[f"{name}Descriptor"] = [200, first, bits]
        order = ">" if syntax == "big endian" else "<"
        if bits == 16:
            data = table[:, n].astype(f"{order}u2").tobytes()
        else:  # two entries in a word, the first in its low byte
            pairs = table[:, n].astype(np.uint8).reshape(-1, 2)
            data = (pairs[:, ::-1] if order == ">" else pairs).tobytes()
        attributes[f"{name}Data"] = data
    content = dicom(values, syntax, stored=8, photometric="PALETTE COLOR", **attributes)
    colours = table[np.clip(values - first, 0, 199)] * (255 / (2**bits - 1))
    assert np.abs(decode_image(content, "x") - luma(colours)).max() <= 1.5


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_palettes_are_exact(bits):
    table = np.arange(256) * (2**bits - 1) // 255
    attributes = {}
    for colour in ("Red", "Green", "Blue"):
        attributes[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        data = table.astype(f"<u{bits // 8}").tobytes()
        attributes[f"{colour}PaletteColorLookupTableData"] = data
    values = np.arange(256).reshape(16, 16)
    content = dicom(values, stored=8, photometric="PALETTE COLOR", **attributes)
    assert (decode_image(content, "x") == values).all()
