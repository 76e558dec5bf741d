"""DICOM decompression bombs are refused before they cost memory or time."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import imagecodecs
import numpy as np
import pytest
from support.dicom_files import dicom, encoded
from support.dicom_outcome import refused

from robustness.evalset.images import dicom as dicom_reader

VALUES = np.random.default_rng(0).integers(0, 256, (8, 6))


def peak_memory(content, reason):
    """Return the peak of traced memory, in bytes, while the content is refused."""
    tracemalloc.start()
    try:
        refused(content, reason)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def deflated(data):
    """Return a deflated file with this data set."""
    content = dicom(VALUES, "deflated", stored=8)
    start = 144 + struct.unpack("<I", content[140:144])[0]
    packed = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return content[:start] + packed.compress(data) + packed.flush()


def test_deflate_bomb(monkeypatch):
    monkeypatch.setattr(dicom_reader, "MAX_BYTES", 2**22)
    bomb = deflated(b"\0" * 2**27)
    assert len(bomb) < 2**18
    assert peak_memory(bomb, "it inflates to more than 4194304 bytes") < 2**24


def test_deflated_twice_or_without_length():
    content = dicom(VALUES, "deflated", stored=8)
    refused(deflated(content[132:]), "it is deflated twice")
    refused(content[132:], "it is deflated, and the length of its file meta information is missing")
    start = content.index(b"\x02\x00\x00\x00UL")
    refused(content[:start] + content[start + 12 :], "the length of its file meta information")


def sequence(items):
    """Return a VOI LUT sequence of undefined length, explicit little endian."""
    return b"\x28\x00\x10\x30SQ\0\0\xff\xff\xff\xff" + items + b"\xfe\xff\xdd\xe0\0\0\0\0"


def test_too_many_elements(monkeypatch):
    monkeypatch.setattr(dicom_reader, "_MAX_READS", 2**13)
    monkeypatch.setattr(dicom_reader, "_MAX_ATTRIBUTE", 2**13)
    empty_item = b"\xfe\xff\x00\xe0\0\0\0\0"
    reason = "it has more elements than an image needs, as in a decompression bomb"
    assert peak_memory(deflated(sequence(empty_item * 2**17)), reason) < 2**26
    attributes = b"".join(b"\x09\x00" + struct.pack("<H", n) + b"LO\0\0" for n in range(2**16))
    large_item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + attributes
    assert peak_memory(deflated(sequence(large_item)), reason) < 2**24
    known = b"\x28\x00\x10\x30SQ\0\0" + struct.pack("<I", 2**14) + empty_item * 2**11
    content = dicom(VALUES, stored=8)
    at = content.index(b"\xe0\x7f\x10\x00")
    reason = "its VOILUTSequence has 16384 bytes; at most 8192 are read"
    refused(content[:at] + known + content[at:], reason)


def test_deep_nesting():
    deep = b"\x28\x00\x10\x30SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000
    content = dicom(VALUES, stored=8)
    at = content.index(b"\xe0\x7f\x10\x00")
    refused(content[:at] + deep + content[at:], "cannot be decoded: ")


def test_run_lengths_beyond_the_image():
    """Every two bytes expand to 128, far more than the eight rows of six in the header."""
    segment = b"\x81\x00" * 2**16
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + segment
    assert peak_memory(dicom(VALUES, "rle", stored=8, frame=frame), "its run lengths") < 2**22


def test_hidden_frame_headers():
    """libjpeg uses the large frame header; a simple parser would find the small one."""
    small = imagecodecs.jpeg8_encode(VALUES.astype(np.uint8))
    at = small.index(b"\xff\xc0")
    large = small[at : at + 5] + b"\x40\x00\x40\x00" + small[at + 9 : at + 13]
    hidden = small[:2] + b"\xff\x00\x00\x0f" + large + small[2:]
    refused(dicom(VALUES, "jpeg baseline", stored=8, frame=hidden), "no frame header")
    twice = small[:at] + small[at : at + 13] + large + small[at + 13 :]
    refused(dicom(VALUES, "jpeg baseline", stored=8, frame=twice), "its codestream is damaged")


def test_too_many_scans():
    frame = imagecodecs.jpeg8_encode(VALUES.astype(np.uint8))
    scan = frame[frame.index(b"\xff\xda") : -2]
    frame = frame[:-2] + scan * 200 + frame[-2:]
    refused(dicom(VALUES, "jpeg baseline", stored=8, frame=frame), "has 201 scans; at most 100")


def test_too_many_tiles():
    frame = bytearray(encoded("jpeg 2000 lossless", VALUES.astype(np.uint8), 8))
    frame[8:16] = struct.pack(">II", 8192, 8192)
    frame[24:32] = struct.pack(">II", 1, 1)
    content = dicom(
        VALUES, "jpeg 2000 lossless", stored=8, frame=bytes(frame), Rows=8192, Columns=8192
    )
    refused(content, "has more than 4096 tiles")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"precincts": b"\x00"}, "67108864 precincts"),
        ({"precincts": b"\x66"}, "16384 precincts, 4194304 blocks"),
        ({"block": 0, "precincts": b"\xff"}, "4194304 blocks"),
        ({"layers": 65535, "precincts": b"\x77"}, "65535 layers"),
    ],
)
@pytest.mark.parametrize("tile", [False, True])
def test_partitions_that_are_too_fine(change, reason, tile):
    """OpenJPEG would take gigabytes and minutes for these few hundred bytes."""
    frame = encoded("jpeg 2000 lossless", VALUES.astype(np.uint8), 8)
    frame = frame[:8] + struct.pack(">4I", 8192, 8192, 0, 0) * 2 + frame[40:]
    at = frame.index(b"\xff\x52")
    layers, block = change.get("layers", 1), change.get("block", 0)
    style = struct.pack(">BBHBBBBBB", 1, 0, layers, 0, 0, block, block, 0, 1)
    segment = b"\xff\x52" + struct.pack(">H", 13) + style + change["precincts"]
    if not tile:
        frame = frame[:at] + segment + frame[at + 14 :]
    else:
        start = frame.index(b"\xff\x93")
        part = frame.index(b"\xff\x90")
        length = struct.unpack(">I", frame[part + 6 : part + 10])[0] + len(segment)
        frame = (
            frame[: part + 6]
            + struct.pack(">I", length)
            + frame[part + 10 : start]
            + (segment + frame[start:])
        )
    content = dicom(VALUES, "jpeg 2000 lossless", stored=8, frame=frame, Rows=8192, Columns=8192)
    refused(content, reason)


def test_coding_style_hidden_in_an_unknown_marker():
    frame = encoded("jpeg 2000 lossless", VALUES.astype(np.uint8), 8)
    at = frame.index(b"\xff\x52")
    frame = frame[:at] + b"\xff\x30\x00\x0e" + frame[at : at + 14] + frame[at:]
    content = dicom(VALUES, "jpeg 2000 lossless", stored=8, frame=frame)
    refused(content, "has the marker FF30 in a header")
