"""DICOM files to uint8 greyscale.

Read are images of one frame, uncompressed, deflated, RLE, JPEG (8 and 12 bit, lossless),
JPEG-LS and JPEG 2000: greyscale of 1 to 16 bits as a screen shows it (see ``_display``), and
colour of 8 bits as ITU-R 601-2 luma, of ``YBR_FULL`` the luma it stores. pydicom reads the
attributes and uncompressed and RLE pixels, ``_codestream`` the others.

Only the pixels and the attributes that decide how they are shown are held to the standard: a
name too long or an unknown character set elsewhere in the file says nothing of the image.
"""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustness.evalset._base import Image
from robustness.evalset._codestream import JPEG, JPEG_2000, JPEG_LS, Header, decode_codestream
from robustness.evalset._display import shown
from robustness.evalset._limits import MAX_BYTES, NEEDS_DICOM, Refused, check_size

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = (".dcm", ".dicom")
"""Suffixes by which a file without the DICOM preamble is taken for one."""

_IMPLICIT, _EXPLICIT, _BIG = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2"))
_DEFLATED, _RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
_BY_PYDICOM = frozenset({_IMPLICIT, _EXPLICIT, _BIG, _DEFLATED, _RLE})
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
_SAMPLES = dict.fromkeys((*_MONOCHROME, "PALETTE COLOR"), 1) | dict.fromkeys(
    ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"), 3
)


def is_dicom(content: bytes) -> bool:
    """Whether a file has the DICOM preamble."""
    return content[128:132] == b"DICM"


def read_dicom(content: bytes) -> Image:
    """Decodes a DICOM file.

    Args:
        content: The whole file.

    Returns:
        uint8 ``[height, width]``, 0 black, at its full size.

    Raises:
        Refused: It is damaged or too large, or of a kind that is not read.
    """
    try:
        from pydicom import dcmread
    except ImportError as error:
        raise Refused(f"DICOM needs the package pydicom; {NEEDS_DICOM}") from error
    _check_deflated(content)
    dataset = dcmread(io.BytesIO(content), force=True)
    samples = _check(dataset)
    pixels, header = _pixels(dataset, samples)
    if samples > 1:
        return _luma(pixels, dataset)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        colours = apply_color_lut(pixels, dataset)[..., :3]
        if colours.dtype != np.uint8:
            colours = np.rint(colours / 257).astype(np.uint8)
        return _rgb_to_luma(colours)
    words = pixels.view(f"u{pixels.dtype.itemsize}")
    return shown(words, _stored(words.dtype.itemsize, dataset, header), dataset)


def _check_deflated(content: bytes) -> None:
    """Refuses a deflated file of too many bytes: pydicom would make room for them all."""
    if not is_dicom(content) or _DEFLATED.encode() not in content[:4096]:
        return
    start = 144 + int.from_bytes(content[140:144], "little")
    if content[132:138] != b"\x02\x00\x00\x00UL":
        raise Refused("it is deflated, and the length of its file meta information is missing")
    # A raw stream has no header, hence the negative window.
    held = zlib.decompressobj(-zlib.MAX_WBITS)
    left, size = content[start:], 0
    while left and size <= MAX_BYTES:
        size += len(held.decompress(left, 2**24))
        left = held.unconsumed_tail
    if size > MAX_BYTES:
        raise Refused(f"it inflates to more than {MAX_BYTES} bytes, as in a decompression bomb")


def _check(dataset: Dataset) -> int:
    """Holds the attributes that shape the pixels to what is read; the samples of a pixel."""
    if "PixelData" not in dataset:
        other = [k for k in ("FloatPixelData", "DoubleFloatPixelData") if k in dataset]
        raise Refused(
            f"it has {other[0]}; allowed is PixelData" if other else "it has no PixelData"
        )
    frames = dataset.get("NumberOfFrames")
    if frames is not None and str(frames).strip() not in {"", "1"}:
        raise Refused(f"it has {frames} frames; allowed is one")
    check_size(_integer(dataset, "Columns"), _integer(dataset, "Rows"))
    photometric = dataset.get("PhotometricInterpretation")
    samples = _integer(dataset, "SamplesPerPixel")
    if photometric not in _SAMPLES or samples != _SAMPLES[photometric]:
        raise Refused(
            f"its PhotometricInterpretation is {photometric!r} with {samples} samples a pixel;"
            f" allowed are {', '.join(f'{name} with {n}' for name, n in _SAMPLES.items())}"
        )
    allocated, stored = _integer(dataset, "BitsAllocated"), _integer(dataset, "BitsStored")
    allowed = (1, 8, 16) if samples == 1 else (8,)
    if allocated not in allowed or not 1 <= stored <= allocated:
        raise Refused(
            f"it has {stored} bits stored of {allocated} allocated;"
            f" allowed for {photometric} are {', '.join(map(str, allowed))} allocated"
        )
    high = _integer(dataset, "HighBit")
    if not stored - 1 <= high < allocated:
        raise Refused(f"its HighBit is {high}, with {stored} bits stored of {allocated}")
    if _integer(dataset, "PixelRepresentation") not in {0, 1}:
        raise Refused("its PixelRepresentation is neither 0 (unsigned) nor 1 (signed)")
    return samples


def _integer(dataset: Dataset, keyword: str) -> int:
    value = dataset.get(keyword)
    if not isinstance(value, int):
        raise Refused(f"its {keyword} is {value if value is not None else 'missing'}")
    return int(value)


def _pixels(dataset: Dataset, samples: int) -> tuple[NDArray[Any], Header | None]:
    """The pixels as stored, and the header of their codestream where they have one."""
    syntax = _syntax(dataset)
    if syntax in _BY_PYDICOM:
        from pydicom.pixels import get_decoder

        raw, _ = get_decoder(syntax).as_array(dataset, raw=True, index=0, correct_unused_bits=False)
        return np.ascontiguousarray(raw), None
    if syntax not in JPEG | JPEG_LS | JPEG_2000:
        raise Refused(
            f"its transfer syntax {syntax} is not read; allowed are uncompressed, deflated, RLE,"
            " JPEG baseline, extended and lossless, JPEG-LS and JPEG 2000"
        )
    from pydicom.encaps import generate_frames

    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    expected = (dataset.Columns, dataset.Rows, samples)
    return decode_codestream(syntax, frame, expected, dataset.PhotometricInterpretation)


def _syntax(dataset: Dataset) -> str:
    named = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    if named:
        return str(named)
    implicit, little = dataset.original_encoding
    return _IMPLICIT if implicit else _EXPLICIT if little else _BIG


def _stored(size: int, dataset: Dataset, header: Header | None) -> NDArray[np.int64]:
    """The pixel value of every word of ``size`` bytes; bits outside the stored ones fall away.

    JPEG does not know signed numbers and JPEG 2000 is at times told wrongly, so the sign is
    the file's header's, and stands in the highest bit that the codestream has.
    """
    bits, shift = int(dataset.BitsStored), int(dataset.HighBit) + 1 - int(dataset.BitsStored)
    if header is not None:
        if header.bits < bits + shift:
            shift = 0
        bits = bits if header.signed else min(bits, header.bits)
    values = np.arange(2 ** (8 * size), dtype=np.int64) >> shift & (1 << bits) - 1
    if dataset.PixelRepresentation == 1:
        values -= (values >> (bits - 1)) << bits
    return values


def _luma(pixels: NDArray[Any], dataset: Dataset) -> Image:
    if pixels.dtype != np.uint8:
        raise Refused(f"its colour is {pixels.dtype}; allowed are 8 bits, unsigned")
    if _syntax(dataset) in _BY_PYDICOM and dataset.PhotometricInterpretation.startswith("YBR"):
        return np.ascontiguousarray(pixels[..., 0])
    return _rgb_to_luma(pixels)


def _rgb_to_luma(colours: NDArray[np.uint8]) -> Image:
    from PIL import Image as PilImage

    return np.array(PilImage.fromarray(np.ascontiguousarray(colours)).convert("L"))
