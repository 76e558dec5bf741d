"""DICOM files that ask for more memory or time than any image needs: refused before either."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import imagecodecs
import numpy as np
import pytest
from dicom_files import dicom, encoded
from dicom_outcome import refused

from robustness.evalset.images import dicom as dicom_reader

VALUES = np.random.default_rng(0).integers(0, 256, (8, 6))


def peak(content, reason):
    tracemalloc.start()
    try:
        refused(content, reason)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def deflated(data):
    """A file whose data set is this."""
    content = dicom(VALUES, "deflated", stored=8)
    start = 144 + struct.unpack("<I", content[140:144])[0]
    packed = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return content[:start] + packed.compress(data) + packed.flush()


def test_what_deflates_well(monkeypatch):
    monkeypatch.setattr(dicom_reader, "MAX_BYTES", 2**22)
    bomb = deflated(b"\0" * 2**27)
    assert len(bomb) < 2**18
    assert peak(bomb, "it inflates to more than 4194304 bytes") < 2**24


def test_what_is_deflated_twice_or_without_length():
    content = dicom(VALUES, "deflated", stored=8)
    refused(deflated(content[132:]), "it is deflated twice")
    refused(content[132:], "it is deflated, and the length of its file meta information is missing")
    start = content.index(b"\x02\x00\x00\x00UL")
    refused(content[:start] + content[start + 12 :], "the length of its file meta information")


def sequence(items):
    """A VOI LUT sequence of undefined length, explicit little endian."""
    return b"\x28\x00\x10\x30SQ\0\0\xff\xff\xff\xff" + items + b"\xfe\xff\xdd\xe0\0\0\0\0"


def test_elements_without_end(monkeypatch):
    monkeypatch.setattr(dicom_reader, "_MAX_READS", 2**13)
    monkeypatch.setattr(dicom_reader, "_MAX_ATTRIBUTE", 2**13)
    item_of_none = b"\xfe\xff\x00\xe0\0\0\0\0"
    reason = "it has more elements than an image needs, as in a decompression bomb"
    assert peak(deflated(sequence(item_of_none * 2**17)), reason) < 2**26
    attributes = b"".join(b"\x09\x00" + struct.pack("<H", n) + b"LO\0\0" for n in range(2**16))
    item_of_many = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + attributes
    assert peak(deflated(sequence(item_of_many)), reason) < 2**24
    known = b"\x28\x00\x10\x30SQ\0\0" + struct.pack("<I", 2**14) + item_of_none * 2**11
    content = dicom(VALUES, stored=8)
    at = content.index(b"\xe0\x7f\x10\x00")
    reason = "its VOILUTSequence has 16384 bytes; at most 8192 are read"
    refused(content[:at] + known + content[at:], reason)


def test_nesting_without_end():
    deep = b"\x28\x00\x10\x30SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000
    content = dicom(VALUES, stored=8)
    at = content.index(b"\xe0\x7f\x10\x00")
    refused(content[:at] + deep + content[at:], "cannot be decoded: ")


def test_run_lengths_that_go_on():
    """128 bytes of each two, far more than the header's eight rows of six."""
    segment = b"\x81\x00" * 2**16
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + segment
    assert peak(dicom(VALUES, "rle", stored=8, frame=frame), "its run lengths") < 2**22


def test_sizes_hidden_from_the_first_look():
    """A frame header that libjpeg sees and a smaller one where it does not look."""
    small = imagecodecs.jpeg8_encode(VALUES.astype(np.uint8))
    at = small.index(b"\xff\xc0")
    large = small[at : at + 5] + b"\x40\x00\x40\x00" + small[at + 9 : at + 13]
    hidden = small[:2] + b"\xff\x00\x00\x0f" + large + small[2:]
    refused(dicom(VALUES, "jpeg baseline", stored=8, frame=hidden), "no frame header")
    twice = small[:at] + small[at : at + 13] + large + small[at + 13 :]
    refused(dicom(VALUES, "jpeg baseline", stored=8, frame=twice), "its codestream is damaged")


def test_scans_without_end():
    frame = imagecodecs.jpeg8_encode(VALUES.astype(np.uint8))
    scan = frame[frame.index(b"\xff\xda") : -2]
    frame = frame[:-2] + scan * 200 + frame[-2:]
    refused(dicom(VALUES, "jpeg baseline", stored=8, frame=frame), "has 201 scans; at most 100")


def test_tiles_without_end():
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
    """Some hundred bytes for which OpenJPEG would take gigabytes and minutes."""
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


def test_a_coding_style_hidden_in_a_marker_that_is_not_known():
    frame = encoded("jpeg 2000 lossless", VALUES.astype(np.uint8), 8)
    at = frame.index(b"\xff\x52")
    frame = frame[:at] + b"\xff\x30\x00\x0e" + frame[at : at + 14] + frame[at:]
    content = dicom(VALUES, "jpeg 2000 lossless", stored=8, frame=frame)
    refused(content, "has the marker FF30 in a header")
