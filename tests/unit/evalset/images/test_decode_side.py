"""Decoding to a maximum side, in threads, and the handling of library warnings."""

from __future__ import annotations

import io
import struct
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PilImage
from support.dicom_files import dicom
from support.image_files import DEEP, GREY, refused, saved, tiff

from robustness.errors import EvaluationSetError
from robustness.evalset.images.decode import decode_image

# --- the longer side ---------------------------------------------------------------


def scene(height, width, mode="L"):
    y, x = np.mgrid[:height, :width]
    grey = (np.sin(x / 17) * np.cos(y / 13) * 120 + 128).astype(np.uint8)
    return PilImage.fromarray(grey).convert(mode)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("side", [1, 50, 299, 300, 301, 1000])
@pytest.mark.parametrize("size", [(300, 200), (200, 300), (300, 300), (300, 7), (1, 300)])
def test_the_longer_side_is_that_of_thumbnail(size, side, kind):
    width, height = size
    content = saved(scene(height, width), kind)
    expected = PilImage.open(io.BytesIO(content))
    expected.thumbnail((side, side), PilImage.Resampling.BICUBIC, reducing_gap=None)
    image = decode_image(content, "x", side)
    assert image.shape == (expected.height, expected.width)
    assert max(image.shape) == min(side, max(size))
    if kind == "PNG":
        assert (image == np.array(expected)).all()


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 5000))
def test_any_size_is_that_of_thumbnail(width, height, side):
    from robustness.evalset.images.decode import _reduced_size

    image = PilImage.new("1", (width, height))
    image.thumbnail((side, side), PilImage.Resampling.NEAREST)
    assert _reduced_size(width, height, side) == image.size


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [(1000, 803), (641, 1003)])
@pytest.mark.parametrize("side", [100, 130, 260, 400, 700])
def test_jpeg_drafts_are_near_the_whole_image_reduced(side, size, mode):
    content = saved(scene(*size[::-1], mode), "JPEG", quality=95)
    image = decode_image(content, "x", side)
    height, width = image.shape
    # Draft mode reduces by 2, 4 or 8, never below the requested size.
    factor = max(n for n in (1, 2, 4, 8) if n * width <= size[0] and n * height <= size[1])
    drafted = PilImage.open(io.BytesIO(content))
    drafted.draft("L", (size[0] // factor, size[1] // factor))
    assert drafted.size == (-(-size[0] // factor), -(-size[1] // factor))
    box = (0, 0, size[0] / factor, size[1] / factor)
    expected = drafted.resize((width, height), PilImage.Resampling.BICUBIC, box=box)
    assert (image == np.array(expected)).all()
    # The result is also close to the reduction without draft mode.
    whole = PilImage.fromarray(decode_image(content, "x"))
    expected = np.array(whole.resize((width, height), PilImage.Resampling.BICUBIC))
    assert np.abs(image.astype(int) - expected).mean() < 2


# --- threads and warnings ----------------------------------------------------------


def test_concurrent_decoding_gives_the_same_results():
    contents = [saved(scene(90 + n, 70), kind) for n in range(12) for kind in ("PNG", "JPEG")]
    contents += [saved(DEEP, "TIFF"), b"damaged", saved(GREY, "PNG")[:60]] * 3

    def outcome(content):
        try:
            return decode_image(content, "x", 50).tobytes()
        except EvaluationSetError as error:
            return str(error)

    sequential = [outcome(content) for content in contents]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(outcome, contents * 4)) == sequential * 4


def with_tag(number, kind, count, value):
    """Return a TIFF file whose last tag, the sample format, is replaced."""
    content = tiff(GREY.tobytes(), (7, 9), 8)
    at = content.index(struct.pack("<HHII", 339, 3, 1, 1))
    return content[:at] + struct.pack("<HHII", number, kind, count, value) + content[at + 12 :]


CASES = {
    "damage": (with_tag(700, 1, 900, 5000), "cannot be decoded: "),
    "metadata": (with_tag(339, 3, 2, 0x10001), None),
    "DICOM": (dicom(GREY, stored=8, SOPInstanceUID="7.7.7").replace(b"7.7.7", b"a.b.c"), None),
}


@pytest.mark.parametrize("case", CASES)
def test_damage_warnings_are_errors_and_no_warning_leaks(case):
    """Pillow warns and continues after damage; pydicom warns of metadata."""
    content, reason = CASES[case]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        if reason:
            refused(content, reason)
        else:
            assert decode_image(content, "x").shape == GREY.shape
        assert warnings.filters == before
        assert not caught


def test_filters_are_restored_when_the_last_thread_ends():
    from robustness.evalset.images.decoder_warnings import decoder_warning_filters

    before = list(warnings.filters)
    entered, leave = threading.Barrier(3), [threading.Event(), threading.Event()]

    def hold(event):
        with decoder_warning_filters():
            entered.wait(10)
            event.wait(10)

    threads = [threading.Thread(target=hold, args=(event,)) for event in leave]
    for thread in threads:
        thread.start()
    entered.wait(10)
    during = list(warnings.filters)
    assert during != before
    leave[0].set()
    threads[0].join(10)
    assert warnings.filters == during
    leave[1].set()
    threads[1].join(10)
    assert warnings.filters == before
