"""Compressed pixels of DICOM files: JPEG, JPEG lossless, JPEG-LS and JPEG 2000.

imagecodecs decodes them (libjpeg-turbo, CharLS, OpenJPEG). Those libraries make room for what
a codestream's own header claims, so the claim is read here first and held against the file's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from robustness.evalset._limits import NEEDS_DICOM, Refused

JPEG = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70))
JPEG_LS = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (80, 81))
JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203))
"""Transfer syntaxes by family; JPEG 2000 with its high-throughput form."""

MAX_BITS = 16
MAX_TILES = 4096
"""Tiles of a JPEG 2000 image at most: OpenJPEG makes room for each before it reads one."""

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_START_OF_SCAN, _END, _ADOBE = 0xDA, b"\xff\xd9", 0xEE
_STANDALONE = frozenset(range(0xD0, 0xD9)) | {0x01}


@dataclass(frozen=True, slots=True)
class Header:
    """What a codestream says of itself; ``adobe``: an Adobe marker names its colour space."""

    width: int
    height: int
    components: int
    bits: int
    signed: bool = False
    adobe: bool = False


def decode_codestream(
    syntax: str, data: bytes, expected: tuple[int, int, int], photometric: str
) -> tuple[NDArray[Any], Header]:
    """Decodes one compressed frame.

    Args:
        syntax: The UID of its transfer syntax, of one of the three families.
        data: The codestream.
        expected: Width, height and samples a pixel, as the file's header has them.
        photometric: The file's photometric interpretation.

    Returns:
        ``[height, width]``, or ``[height, width, 3]`` as RGB, in 8 or 16 bits; its header.

    Raises:
        Refused: The codestream is damaged, or is not what the file's header says.
    """
    try:
        import imagecodecs
    except ImportError as error:
        raise Refused(f"compressed DICOM needs the package imagecodecs; {NEEDS_DICOM}") from error
    header = _siz(data) if syntax in JPEG_2000 else _sof(data)
    found = (header.width, header.height, header.components)
    if found != expected:
        raise Refused(
            f"its codestream is {' x '.join(map(str, found))} (width, height, samples),"
            f" its header says {' x '.join(map(str, expected))}"
        )
    if not 1 <= header.bits <= MAX_BITS:
        raise Refused(f"its codestream has {header.bits} bits a sample; allowed are 1 to 16")
    errors = (imagecodecs.DelayedImportError, imagecodecs.Jpeg8Error)
    errors += (imagecodecs.JpeglsError, imagecodecs.Jpeg2kError)
    try:
        if syntax in JPEG_2000:
            pixels = imagecodecs.jpeg2k_decode(data, numthreads=1)
        elif syntax in JPEG_LS:
            pixels = imagecodecs.jpegls_decode(data)
        else:
            # Without Adobe's marker nothing in a DICOM codestream is sure to tell the space.
            stored = "RGB" if photometric == "RGB" else "YCBCR"
            told = header.components == 1 or header.adobe
            pixels = imagecodecs.jpeg8_decode(data, colorspace=None if told else stored)
    except errors as error:
        raise Refused(f"its codestream is damaged: {error}") from error
    shape = (header.height, header.width) + ((header.components,) if header.components > 1 else ())
    if (
        pixels.shape != shape
        or pixels.dtype.itemsize * 8 > MAX_BITS
        or pixels.dtype.kind not in "iu"
    ):
        raise Refused(f"its codestream decodes to {pixels.dtype} {pixels.shape}")
    return pixels, header


def _sof(data: bytes) -> Header:
    """The frame header of a JPEG or JPEG-LS codestream."""
    if not data.rstrip(b"\0").endswith(_END):
        raise Refused("its JPEG codestream is truncated")
    at, adobe = 2, False
    while data[:2] == b"\xff\xd8" and at + 9 < len(data) and data[at] == 0xFF:  # noqa: PLR2004
        marker = data[at + 1]
        if marker == 0xFF or marker in _STANDALONE:  # noqa: PLR2004 - a fill byte
            at += 1 if marker not in _STANDALONE else 2
            continue
        if marker in _START_OF_FRAME:
            height, width = _u16(data, at + 5), _u16(data, at + 7)
            return Header(width, height, data[at + 9], data[at + 4], adobe=adobe)
        if marker == _START_OF_SCAN:
            break
        adobe |= marker == _ADOBE and data[at + 4 : at + 9] == b"Adobe"
        at += 2 + max(_u16(data, at + 2), 2)
    raise Refused("its JPEG codestream has no frame header")


def _siz(data: bytes) -> Header:
    """The size segment of a JPEG 2000 codestream, alone or in a JP2 file."""
    at = data.find(b"\xff\x4f\xff\x51")
    in_box = data[4:8] == b"jP  "
    if len(data) < at + 45 or (at != 0 and not (in_box and at > 0)):
        raise Refused("its JPEG 2000 codestream has no size segment")
    x1, y1, x0, y0, tile_w, tile_h = (_u32(data, at + n) for n in range(8, 32, 4))
    components = _u16(data, at + 40)
    if not (tile_w and tile_h) or -(-x1 // tile_w) * -(-y1 // tile_h) > MAX_TILES:
        raise Refused(f"its JPEG 2000 codestream has more than {MAX_TILES} tiles, or none")
    depths = {data[at + 42 + 3 * n : at + 45 + 3 * n] for n in range(min(components, 4))}
    if len(depths) != 1 or (depth := depths.pop())[1:] != b"\x01\x01":
        raise Refused("the components of its JPEG 2000 codestream differ in size or depth")
    bits, signed = (depth[0] & 0x7F) + 1, bool(depth[0] & 0x80)
    return Header(x1 - x0, y1 - y0, components, bits, signed)


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")
