"""Write image files for tests, with assertions on the decoded image."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as PilImage

from robustness.errors import EvaluationSetError
from robustness.evalset.images.decode import decode_image
from support.dicom_standard import stretched

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (9, 7), dtype=np.uint8)
DEEP = RANDOM.integers(700, 4096, (9, 7)).astype(np.uint16)
COLOUR = RANDOM.integers(0, 256, (9, 7, 3), dtype=np.uint8)


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image = image if isinstance(image, PilImage.Image) else PilImage.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rows, size, depth, colour, *, interlaced=0, extra=b""):
    """Return a PNG file with features that Pillow does not write."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), extra, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    )


def tiff(data, size, bits, *, photometric=1, sample=1, compression=1):
    """Return an uncompressed TIFF file with one strip."""
    tags = [
        (256, 4, size[0]), (257, 4, size[1]), (258, 3, bits), (259, 3, compression),
        (262, 3, photometric), (273, 4, 8), (277, 3, 1), (278, 4, size[1]),
        (279, 4, len(data)), (339, 3, sample),
    ]  # fmt: skip
    data += b"\0" * (len(data) % 2)
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"".join(
        [
            *(b"II*\0", struct.pack("<I", 8 + len(data)), data),
            *(struct.pack("<H", len(tags)), directory, b"\0\0\0\0"),
        ]
    )


def refused(content, reason, name="folder/x"):
    with pytest.raises(EvaluationSetError) as caught:
        decode_image(content, name)
    message = str(caught.value)
    assert message.startswith(f"image {name} ")
    assert "\n" not in message
    assert reason in message, message


def assert_stretched(content, values):
    image = decode_image(content, "x")
    assert image.dtype == np.uint8
    assert np.abs(image - stretched(values)).max() <= 0.5 + 1e-9
