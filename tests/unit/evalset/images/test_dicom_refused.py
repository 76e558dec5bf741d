"""Broken or hostile DICOM files are decoded or refused in one line, with little memory."""

from __future__ import annotations

import resource
import sys

import numpy as np
import pytest
from support.dicom_files import NATIVE, SYNTAXES, dicom, encoded, item, lut
from support.dicom_outcome import outcome, refused

VALUES = np.random.default_rng(0).integers(0, 256, (8, 6))
EVERY = [name for name in SYNTAXES if name != "htj2k lossless"]


@pytest.mark.parametrize("syntax", EVERY)
def test_truncated_files(syntax):
    """A truncated file is refused, unless only padding is missing."""
    content = dicom(VALUES, syntax, stored=8)
    whole = outcome(content)
    assert not isinstance(whole, str)
    ends = range(len(content) - 20, len(content))
    for length in (*range(0, len(content) - 20, 7), *ends):
        result = outcome(content[:length])
        if isinstance(result, str):
            assert "\n" not in result
            assert "folder/x.dcm" in result
        else:
            assert (result == whole).all()
            assert length > len(content) - 12


COMPRESSED = [name for name in EVERY if name not in NATIVE]


@pytest.mark.parametrize("syntax", COMPRESSED)
def test_truncated_codestreams_in_whole_files(syntax):
    values = np.random.default_rng(1).integers(0, 256, (24, 31))
    frame = encoded(syntax, values.astype(np.uint8), 8)
    for length in (*range(2, len(frame) - 9, 13), len(frame) - 3):
        content = dicom(values, syntax, stored=8, frame=frame[:length])
        refused(content, "cannot be decoded: its ")


def test_a_truncated_data_set_that_is_deflated():
    content = dicom(VALUES, "deflated", stored=8)
    refused(content[: len(content) * 2 // 3], "its deflated data set is truncated")


@pytest.mark.parametrize("syntax", EVERY)
@pytest.mark.parametrize("change", [{"Rows": 9}, {"Columns": 7}, {"Rows": 16, "Columns": 12}])
def test_header_and_pixels_of_different_size(syntax, change):
    refused(dicom(VALUES, syntax, stored=8, **change), "cannot be decoded: ")


@pytest.mark.parametrize("syntax", ["jpeg baseline", "jpeg lossless", "jpeg-ls", "jpeg 2000"])
def test_a_codestream_of_another_size_says_so(syntax):
    content = dicom(VALUES, syntax, stored=8, Rows=9)
    refused(content, "its codestream is 6 x 8 x 1 (width, height, samples), its header says 6 x 9")
    content = dicom(VALUES, syntax, stored=8, Rows=8, SamplesPerPixel=3)
    content = content.replace(b"MONOCHROME2 ", b"RGB         ")
    refused(content, "its codestream is 6 x 8 x 1 (width, height, samples), its header says")


@pytest.mark.parametrize("syntax", ["jpeg lossless", "jpeg-ls", "jpeg 2000 lossless"])
def test_a_codestream_of_more_bits_than_are_allocated(syntax):
    frame = encoded(syntax, VALUES.astype(np.uint16) * 200, 16)
    content = dicom(VALUES, syntax, stored=8, frame=frame)
    refused(content, "its codestream has 16 bits per sample; 8 are allocated")


def short():
    made = lut([1, 2, 3], 0, 16)
    made.LUTDescriptor = [0, 0, 16]  # 0 is 65536
    return made


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"PixelData": None}, "it has no PixelData"),
        ({"NumberOfFrames": 2}, "it has 2 frames; allowed is one"),
        ({"NumberOfFrames": 0}, "it has 0 frames; allowed is one"),
        ({"Rows": None}, "its Rows is missing"),
        ({"Rows": 0}, "its size is 6 x 0"),
        ({"Columns": [6, 6]}, "its Columns is [6, 6]"),
        ({"Rows": 65535, "Columns": 65535}, "65535 x 65535 pixels are more than 67108864"),
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, "32 bits stored of 32 allocated"),
        ({"BitsStored": 17}, "17 bits stored of 8 allocated"),
        ({"BitsStored": 0}, "0 bits stored of 8 allocated"),
        ({"HighBit": 3}, "its HighBit is 3, with 8 bits stored of 8"),
        ({"PixelRepresentation": 2}, "its PixelRepresentation is neither 0 (unsigned) nor 1"),
        ({"SamplesPerPixel": 3}, "its PhotometricInterpretation is 'MONOCHROME2' with 3 samples"),
        ({"PhotometricInterpretation": "CMYK"}, "its PhotometricInterpretation is 'CMYK'"),
        ({"PhotometricInterpretation": None}, "its PhotometricInterpretation is None"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "no descriptor of three values"),
        ({"RescaleSlope": 0}, "its RescaleSlope is 0"),
        ({"WindowCenter": 3}, "it has one of WindowCenter and WindowWidth"),
        ({"WindowWidth": 3}, "it has one of WindowCenter and WindowWidth"),
        ({"WindowCenter": 3, "WindowWidth": 0}, "its WindowWidth is 0; LINEAR allows numbers from"),
        ({"WindowCenter": 3, "WindowWidth": 0.5}, "its WindowWidth is 0.5; LINEAR allows numbers"),
        (
            {"WindowCenter": 3, "WindowWidth": 3, "VOILUTFunction": "GAMMA"},
            "its VOILUTFunction is 'GAMMA'; allowed are LINEAR, LINEAR_EXACT, SIGMOID",
        ),
        (
            {"WindowCenter": 3, "WindowWidth": -1, "VOILUTFunction": "SIGMOID"},
            "its WindowWidth is -1; SIGMOID allows numbers above 0",
        ),
        ({"VOILUTSequence": [item()]}, "its VOI LUT has no descriptor of three values"),
        ({"VOILUTSequence": [lut([1, 2, 3], 0, 17)]}, "its VOI LUT have 17 bits; allowed are 1"),
        ({"VOILUTSequence": [lut([1, 2, 300], 0, 8)]}, "does not contain 3 entries of 8 bits"),
        ({"ModalityLUTSequence": [short()]}, "its modality LUT does not contain 65536 entries"),
    ],
)
def test_display_attributes_are_checked(attributes, reason):
    refused(dicom(VALUES, stored=8, **attributes), reason)


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "1e999", "abc", "1,5"])
@pytest.mark.parametrize("keyword", ["WindowCenter", "WindowWidth", "RescaleSlope"])
def test_invalid_numbers(keyword, word):
    attributes = {"WindowCenter": 100, "WindowWidth": 50, "RescaleSlope": 1, keyword: "7777777"}
    content = dicom(VALUES, stored=8, **attributes).replace(b"7777777 ", f"{word:8}".encode())
    assert word.encode() in content
    refused(content, "cannot be decoded: ")


@pytest.mark.parametrize("number", ["1e308", "-1e308", "1e-308"])
@pytest.mark.parametrize("keyword", ["WindowCenter", "WindowWidth", "RescaleSlope"])
def test_extreme_finite_numbers(keyword, number):
    attributes = {"WindowCenter": 100, "WindowWidth": 50, keyword: number}
    for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        outcome(dicom(VALUES, stored=8, VOILUTFunction=function, **attributes))
    outcome(dicom(VALUES, stored=8, RescaleIntercept="1e308", RescaleSlope=number))


def test_overflowing_values():
    refused(dicom(VALUES, stored=8, RescaleSlope="1e308"), "overflow encountered")


def test_pixels_in_floating_point():
    content = dicom(VALUES, stored=8, PixelData=None, FloatPixelData=b"\0" * 192)
    refused(content, "it has FloatPixelData; allowed is PixelData")
    content = dicom(VALUES, stored=8, PixelData=None, DoubleFloatPixelData=b"\0" * 384)
    refused(content, "it has DoubleFloatPixelData; allowed is PixelData")


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.55"])
def test_other_transfer_syntaxes(uid):
    refused(dicom(VALUES, uid, stored=8, frame=b"\0" * 8), f"its transfer syntax {uid} is not read")


@pytest.mark.parametrize("syntax", ["rle", "jpeg lossless", "jpeg-ls", "jpeg 2000 lossless"])
@pytest.mark.parametrize("frame", [b"\0" * 64, b"\xff\xd8\xff\xd9", b"\xff\x4f\xff\x51", b"x"])
def test_invalid_codestreams(syntax, frame):
    refused(dicom(VALUES, syntax, stored=8, frame=frame), "cannot be decoded: ")


def test_invalid_dicom_files():
    refused(b"\0" * 128 + b"DICM", "it has no PixelData")
    refused(b"no image at all", "it has no PixelData")
    refused(b"", "is empty")


@pytest.mark.parametrize("syntax", EVERY)
def test_mutated_files(syntax):
    """Each is decoded or refused; both must occur."""
    tables = [] if syntax == "big endian" else [lut(range(256), 0, 8)]
    content = dicom(
        VALUES,
        syntax,
        stored=8,
        NumberOfFrames=1,
        VOILUTSequence=tables,
        ModalityLUTSequence=tables,
    )
    assert not isinstance(outcome(content), str)
    random = np.random.default_rng(7)
    messages = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(160):
        mutated = bytearray(content)
        for at in random.integers(132, len(content), random.integers(1, 6)):
            kind = random.integers(3)
            if kind == 0:
                mutated[at] ^= 1 << random.integers(8)
            elif kind == 1:
                mutated[at] = random.choice([0, 0xFF, 0x7F, 0x80])
            else:
                mutated[at : at + random.integers(9)] = random.bytes(random.integers(9))
        result = outcome(bytes(mutated))
        if isinstance(result, str):
            messages += 1
            assert "folder/x.dcm" in result
            assert "\n" not in result
            assert len(result) < 700
    assert 0 < messages < 160
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < 2**30
