"""Decode compressed pixels of DICOM files: RLE, JPEG, JPEG lossless, JPEG-LS, JPEG 2000.

imagecodecs decodes them (libjpeg-turbo, CharLS, OpenJPEG). These libraries allocate what the
header of a codestream declares. Therefore that header is first compared with the header of the
DICOM file, and the libraries write into an array of the size in the file header.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustness.evalset.images.jpeg2000 import check_partition, u16, u32
from robustness.evalset.images.limits import Refused, check_scans

JPEG = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70))
JPEG_LS = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (80, 81))
JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203))
"""Transfer syntaxes by family; JPEG 2000 includes high-throughput JPEG 2000."""
LOSSY = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 81, 91, 203))
"""Lossy transfer syntaxes."""

MAX_BITS = 16
_LOSSLESS = 0xC3
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_START_OF_SCAN, _END, _ADOBE = 0xDA, b"\xff\xd9", 0xEE
_STANDALONE = frozenset(range(0xD0, 0xD9)) | {0x01}
_SIZE = b"\xff\x4f\xff\x51"


@dataclass(frozen=True, slots=True)
class Header:
    """Header of a codestream; ``adobe``: an Adobe marker names the colour space."""

    width: int
    height: int
    components: int
    bits: int
    signed: bool = False
    adobe: bool = False
    lossless: bool = False


def decode_codestream(
    syntax: str, data: bytes, expected: tuple[int, int, int], photometric: str
) -> tuple[NDArray[Any], Header]:
    """Decode one compressed frame.

    Args:
        syntax: The transfer syntax UID, of one of the three families.
        data: The codestream.
        expected: Width, height and samples per pixel in the file header.
        photometric: The photometric interpretation in the file header.

    Returns:
        The pixels, with 8 or 16 bits, and the header of the codestream. The pixels are
        ``[height, width]`` for greyscale and for lossy colour JPEG (the stored luma). Other
        colour is ``[height, width, 3]`` in the colour space ``photometric``, after the inverse
        component transform of JPEG 2000.

    Raises:
        Refused: The codestream is damaged or does not match the file header.
    """
    import imagecodecs

    if syntax in JPEG_2000:
        # Strip the boxes of a JP2 file, so that only the checked codestream is decoded.
        data = data[max(data.find(_SIZE), 0) :] if data[4:8] == b"jP  " else data
        header = _siz(data)
    else:
        header = _sof(data)
    actual = (header.width, header.height, header.components)
    if actual != expected:
        raise Refused(
            f"its codestream is {' x '.join(map(str, actual))} (width, height, samples),"
            f" its header says {' x '.join(map(str, expected))}"
        )
    if not 1 <= header.bits <= MAX_BITS:
        raise Refused(f"its codestream has {header.bits} bits per sample; allowed are 1 to 16")
    luma = syntax in JPEG and header.components > 1 and not header.lossless
    shape: tuple[int, ...] = (header.height, header.width)
    shape += () if luma or header.components == 1 else (header.components,)
    out = np.empty(shape, f"{'i' if header.signed else 'u'}{1 if header.bits <= 8 else 2}")  # noqa: PLR2004
    try:
        if syntax in JPEG_2000:
            return imagecodecs.jpeg2k_decode(data, numthreads=1, out=out), header
        if syntax in JPEG_LS:
            return imagecodecs.jpegls_decode(data, out=out), header
        # Without an Adobe marker, a DICOM codestream does not reliably name its colour space.
        stored = "RGB" if photometric == "RGB" else "YCBCR"
        return imagecodecs.jpeg8_decode(
            data,
            colorspace=stored if luma and not header.adobe else None,
            outcolorspace="GRAYSCALE" if luma else None,
            out=out,
        ), header
    except (RuntimeError, ValueError) as error:  # RuntimeError is the base of its own errors
        raise Refused(f"its codestream is damaged: {error}") from error


def decode_rle(data: bytes, expected: tuple[int, int, int], size: int) -> NDArray[Any]:
    """Decode one RLE frame (DICOM PS3.5, annex G).

    Args:
        data: The frame.
        expected: Width, height and samples per pixel in the file header.
        size: Bytes per sample, 1 or 2.

    Returns:
        Unsigned ``[height, width]``, or ``[height, width, samples]``.

    Raises:
        Refused: The frame is damaged or does not match the file header.
    """
    import imagecodecs

    width, height, samples = expected
    length = width * height * samples * size
    try:
        words = imagecodecs.dicomrle_decode(data, f"<u{size}", out=length)
    except (RuntimeError, ValueError) as error:
        raise Refused(f"its run lengths are damaged: {error}") from error
    if len(words) != length or int.from_bytes(data[:4], "little") != samples * size:
        raise Refused(f"its run lengths contain {len(words)} bytes; its header says {length}")
    planes = np.frombuffer(words, f"<u{size}").reshape(samples, height, width)
    return planes[0] if samples == 1 else np.moveaxis(planes, 0, -1)


def _sof(data: bytes) -> Header:
    """Return the frame header of a JPEG or JPEG-LS codestream."""
    if not data.rstrip(b"\0\xff").endswith(_END):
        raise Refused("its JPEG codestream is truncated")
    check_scans(data)
    at, adobe = 2, False
    while data[:2] == b"\xff\xd8" and at + 9 < len(data) and data[at] == 0xFF:  # noqa: PLR2004
        marker = data[at + 1]
        if marker == 0xFF or marker in _STANDALONE:  # noqa: PLR2004 - a fill byte
            at += 1 if marker not in _STANDALONE else 2
            continue
        if marker in _START_OF_FRAME:
            height, width = u16(data, at + 5), u16(data, at + 7)
            components, bits = data[at + 9], data[at + 4]
            return Header(
                width, height, components, bits, adobe=adobe, lossless=marker == _LOSSLESS
            )
        if marker in {0, _START_OF_SCAN}:
            break
        adobe |= marker == _ADOBE and data[at + 4 : at + 9] == b"Adobe"
        at += 2 + max(u16(data, at + 2), 2)
    raise Refused("its JPEG codestream has no frame header")


def _siz(data: bytes) -> Header:
    """Return the header from the size segment of a JPEG 2000 codestream."""
    if data[:4] != _SIZE or len(data) < 45:  # noqa: PLR2004 - the segment of one component
        raise Refused("its JPEG 2000 codestream has no size segment")
    x1, y1, x0, y0 = (u32(data, n) for n in range(8, 24, 4))
    components = u16(data, 40)
    depths = {data[42 + 3 * n : 45 + 3 * n] for n in range(min(components, 4))}
    if len(depths) != 1 or (depth := depths.pop())[1:] != b"\x01\x01":
        raise Refused("the components of its JPEG 2000 codestream differ in size or depth")
    bits, signed = (depth[0] & 0x7F) + 1, bool(depth[0] & 0x80)
    check_partition(data, (x1 - x0, y1 - y0), components)
    return Header(x1 - x0, y1 - y0, components, bits, signed)
