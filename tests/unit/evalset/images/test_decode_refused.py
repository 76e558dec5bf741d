"""Broken or hostile image files, and files that would lose bits, are refused in one line."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image as PilImage
from PIL import ImageFile
from support.image_files import DEEP, GREY, RANDOM, chunk, png, refused, saved, tiff

from robustness.errors import EvaluationSetError
from robustness.evalset import read_image
from robustness.evalset.images.decode import decode_image


def test_files_that_cannot_be_read_are_named(tmp_path):
    for path, message in [
        (tmp_path / "none.png", "does not exist"),
        (tmp_path, "it is a folder"),
        (tmp_path / "a\0b", "cannot be decoded: embedded null byte"),
    ]:
        with pytest.raises(EvaluationSetError, match=message) as caught:
            read_image(path)
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)
    refused(b"not an image", "is not in a supported format; allowed are DICOM, BMP, JPEG, PNG")
    refused(b"", "is empty; allowed are DICOM, BMP")
    doubles = tiff(GREY.astype(np.float64).tobytes(), (7, 9), 64, sample=3)
    refused(doubles, "is not in a supported format")
    refused(saved(GREY, "GIF"), "is not in a supported format")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "PPM"])
def test_truncated_files(kind):
    content = saved(RANDOM.integers(0, 256, (40, 30), dtype=np.uint8), kind)
    whole = decode_image(content, "x")
    for length in range(0, len(content), 11):
        try:
            image = decode_image(content[:length], "x")
        except EvaluationSetError:
            continue
        assert (image == whole).all()
        assert length > len(content) - 300  # bytes after the pixels


def test_images_that_would_lose_bits_are_refused():
    deep = RANDOM.integers(0, 65536, (2, 6)).astype(">u2")
    rows = [row.tobytes() for row in deep]
    reason = "it has 16 bits per sample and several samples per pixel"
    refused(png(rows, (2, 2), 16, 2), reason)
    refused(png(rows, (3, 2), 16, 4), reason)
    refused(tiff(GREY.tobytes(), (7, 9), 8, sample=2), "it has signed samples of 8 bits")


def test_several_images_in_a_file():
    pages = [PilImage.fromarray(GREY), PilImage.fromarray(255 - GREY)]
    content = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    refused(content, "it contains 2 images; allowed is one")
    content = saved(pages[0], "PNG", save_all=True, append_images=pages[1:])
    refused(content, "it contains 2 images; allowed is one")


@pytest.mark.parametrize("name", ["nan", "inf"])
def test_non_finite_values(name):
    values = DEEP.astype(np.float32)
    values[3, 3] = float(name)
    refused(saved(values, "TIFF"), "it has values that are not finite numbers")


def test_images_of_too_many_pixels():
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8193, 8192, 8, 0, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    refused(content, "its 8193 x 8192 pixels are more than 67108864, as in a decompression bomb")
    refused(b"P5 100000 100000 255\n", "decompression bomb")
    refused(tiff(b"\0\0", (65535, 65535), 8), "decompression bomb")


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"progressive": True}, "scans; at most 100 are read"), ({}, "broken data stream")],
)
def test_too_many_scans(settings, message):
    content = saved(GREY, "JPEG", **settings)
    scan = content[content.rindex(b"\xff\xda") : -2]
    refused(content[:-2] + scan * 150 + content[-2:], message)


def test_a_setting_that_hides_damage_is_named(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    refused(saved(GREY, "PNG"), "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "PPM"])
def test_mutated_files(kind):
    content = saved(RANDOM.integers(0, 256, (20, 30, 3), dtype=np.uint8), kind)
    random, refusals = np.random.default_rng(3), 0
    for _ in range(200):
        mutated = bytearray(content)
        for at in random.integers(0, min(len(content), 600), random.integers(1, 5)):
            mutated[at] = random.integers(256)
        message = ""
        try:
            image = decode_image(bytes(mutated), "folder/x")
        except EvaluationSetError as error:
            message = str(error)
            refusals += 1
        assert ("folder/x" in message and "\n" not in message) if message else image.ndim == 2
    assert refusals > 0
