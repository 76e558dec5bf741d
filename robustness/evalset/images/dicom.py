"""DICOM files to uint8 greyscale.

Read are images of one frame, uncompressed, deflated, RLE, JPEG (8 and 12 bit, lossless),
JPEG-LS and JPEG 2000: greyscale of 1 to 16 bits as a screen shows it (see ``_display``), and
colour of 8 bits as ITU-R 601-2 luma, of ``YBR_FULL`` and lossy JPEG the luma it stores. pydicom
reads the attributes and uncompressed pixels, ``_codestream`` the others.

Only the pixels and the attributes that decide how they are shown are held to the standard: a
name too long or an unknown character set elsewhere in the file says nothing of the image.
"""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustness.evalset.images import Image
from robustness.evalset.images.codestream import (
    JPEG,
    JPEG_2000,
    JPEG_LS,
    LOSSY,
    Header,
    decode_codestream,
    decode_rle,
)
from robustness.evalset.images.display import palette, shown
from robustness.evalset.images.limits import MAX_BYTES, Refused, check_size
from robustness.wording import counted

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = (".dcm", ".dicom")
"""Suffixes by which a file without the DICOM preamble is taken for one."""

_IMPLICIT, _EXPLICIT, _BIG = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2"))
_DEFLATED, _RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
_NATIVE = frozenset({_IMPLICIT, _EXPLICIT, _BIG, _DEFLATED})
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
_SAMPLES = dict.fromkeys((*_MONOCHROME, "PALETTE COLOR"), 1) | dict.fromkeys(
    ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"), 3
)
_OF_JPEG_2000 = ("YBR_ICT", "YBR_RCT")

_COLOURS = [f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")]
_FLOATS = ["FloatPixelData", "DoubleFloatPixelData"]
_ATTRIBUTES = [
    *("NumberOfFrames", "Rows", "Columns", "SamplesPerPixel"),
    *("PhotometricInterpretation", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "PresentationLUTShape"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *(colour + end for colour in _COLOURS for end in ("Descriptor", "Data")),
]
"""What is read of a file besides its pixels; all else is stepped over."""

_MAX_READS = 2**18
_MAX_ATTRIBUTE = 2**20
"""Elements that pydicom reads, and bytes of one but the pixels. A table has 128 KiB; beyond
these a few bytes each become a Python object each."""


PREAMBLE = 132
"""Bytes that say whether a file is DICOM."""


def is_dicom(content: bytes) -> bool:
    """Whether a file has the DICOM preamble, told from its first :data:`PREAMBLE` bytes."""
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
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        return _decode(_dataset(_inflated(content)))
    except (BytesLengthException, InvalidDicomError) as error:
        raise Refused(str(error)) from error


def _dataset(content: bytes) -> Dataset:
    from pydicom import dcmread

    file = _Bounded(content)
    try:
        return dcmread(file, force=True, specific_tags=["PixelData", *_FLOATS, *_ATTRIBUTES])
    except OSError as error:
        if file.reads > _MAX_READS:  # pydicom turns what is raised there into its own
            raise Refused("it has more elements than an image needs, as in a bomb") from error
        raise


def _decode(dataset: Dataset) -> Image:
    samples = _check(dataset)
    pixels, header = _pixels(dataset, samples)
    if samples > 1:
        return _luma(pixels, dataset)
    words = pixels.view(f"u{pixels.dtype.itemsize}")
    stored = _stored(words.dtype.itemsize, dataset, header)
    if dataset.PhotometricInterpretation != "PALETTE COLOR":
        return shown(words, stored, dataset)
    image: Image = np.take(_rgb_to_luma(palette(stored, dataset)[None])[0], words)
    return image


class _Bounded(io.BytesIO):
    """A file that can be read so many times and no more."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > _MAX_READS:
            raise OSError("too many elements")
        return super().read(size)


def _inflated(content: bytes) -> bytes:
    """The data set of a deflated file; any other file as it is.

    pydicom would inflate without bound, so it never sees the name of that transfer syntax.
    """
    if _DEFLATED.encode() not in content:
        return content
    start = 144 + int.from_bytes(content[140:144], "little")
    if content[128:138] != b"DICM\x02\x00\x00\x00UL":
        raise Refused("it is deflated, and the length of its file meta information is missing")
    # A raw stream has no header, hence the negative window.
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(content[start:], MAX_BYTES + 1)
    if len(inflated) > MAX_BYTES:
        raise Refused(f"it inflates to more than {MAX_BYTES} bytes, as in a decompression bomb")
    if not inflater.eof:
        raise Refused("its deflated data set is truncated")
    if _DEFLATED.encode() in inflated:
        raise Refused("it is deflated twice")
    return inflated


def _check(dataset: Dataset) -> int:
    """Holds the attributes that shape the pixels to what is read; the samples of a pixel."""
    if "PixelData" not in dataset:
        other = [keyword for keyword in _FLOATS if keyword in dataset]
        raise Refused(
            f"it has {other[0]}; allowed is PixelData"
            if other
            else "it has no PixelData, or ends before it"
        )
    for keyword in _ATTRIBUTES:
        length = getattr(dataset.get_item(keyword), "length", 0)
        if length > _MAX_ATTRIBUTE:
            raise Refused(f"its {keyword} has {length} bytes; at most {_MAX_ATTRIBUTE} are read")
    frames = dataset.get("NumberOfFrames")
    if frames is not None and str(frames).strip() not in {"", "1"}:
        raise Refused(f"it has {frames} frames; allowed is one")
    check_size(_integer(dataset, "Columns"), _integer(dataset, "Rows"))
    photometric = dataset.get("PhotometricInterpretation")
    samples = _integer(dataset, "SamplesPerPixel")
    if photometric not in _SAMPLES or samples != _SAMPLES[photometric]:
        raise Refused(
            f"its PhotometricInterpretation is {photometric!r} with"
            f" {counted(samples, 'sample')} a pixel; allowed are"
            f" {', '.join(f'{name} with {n}' for name, n in _SAMPLES.items())}"
        )
    allocated, stored = _integer(dataset, "BitsAllocated"), _integer(dataset, "BitsStored")
    allowed = (1, 8, 16) if samples == 1 else (8,)
    if allocated not in allowed or not (1 if samples == 1 else 8) <= stored <= allocated:
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
    syntax, allocated = _syntax(dataset), int(dataset.BitsAllocated)
    if syntax in _NATIVE:
        return _native(syntax, dataset), None
    if syntax != _RLE and syntax not in JPEG | JPEG_LS | JPEG_2000:
        raise Refused(
            f"its transfer syntax {syntax} is not read; allowed are uncompressed, deflated, RLE,"
            " JPEG baseline, extended and lossless, JPEG-LS and JPEG 2000"
        )
    if allocated == 1:
        raise Refused("it has 1 bit allocated and is compressed; allowed are 8 and 16")
    from pydicom.encaps import generate_frames

    frame = next(generate_frames(dataset.PixelData, number_of_frames=1), b"")
    expected = (int(dataset.Columns), int(dataset.Rows), samples)
    if syntax == _RLE:
        return decode_rle(frame, expected, allocated // 8), None
    pixels, header = decode_codestream(syntax, frame, expected, dataset.PhotometricInterpretation)
    if header.bits > allocated:
        raise Refused(f"its codestream has {header.bits} bits a sample; {allocated} are allocated")
    return pixels, header


def _native(syntax: str, dataset: Dataset) -> NDArray[Any]:
    from pydicom.pixels.decoders.base import get_decoder

    # Bits that are not used are masked where the place of the highest bit is known.
    options: dict[str, Any] = {"correct_unused_bits": False}
    pixels, _ = get_decoder(syntax).as_array(dataset, raw=True, index=0, **options)
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))


def _syntax(dataset: Dataset) -> str:
    named = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    if named:
        return str(named)
    implicit, little = dataset.original_encoding
    return _IMPLICIT if implicit else _EXPLICIT if little else _BIG


def _stored(size: int, dataset: Dataset, header: Header | None) -> NDArray[np.int64]:
    """The pixel value of every word of ``size`` bytes; bits outside the stored ones fall away.

    What lossy compression carries past the range of the stored bits is at its nearer end.
    JPEG does not know signed numbers and JPEG 2000 is at times told wrongly, so the sign is
    the file's header's, and stands in the highest bit that the codestream has.
    """
    bits, shift = int(dataset.BitsStored), int(dataset.HighBit) + 1 - int(dataset.BitsStored)
    signed = dataset.PixelRepresentation == 1
    if header is not None:
        if header.bits < bits + shift:
            shift = 0
        bits = min(bits, header.bits)
    values = np.arange(2 ** (8 * size), dtype=np.int64)
    if header is not None and _syntax(dataset) in LOSSY and header.signed == signed:
        low = -(1 << (bits - 1)) if signed else 0
        values -= (values >> (8 * size - 1)) << (8 * size) if signed else 0
        return np.asarray(np.clip(values >> shift, low, low + (1 << bits) - 1))
    values = values >> shift & (1 << bits) - 1
    if signed:
        values -= (values >> (bits - 1)) << bits
    return values


def _luma(pixels: NDArray[Any], dataset: Dataset) -> Image:
    if pixels.dtype != np.uint8:
        raise Refused(f"its colour is {pixels.dtype}; allowed are 8 bits, unsigned")
    space = dataset.PhotometricInterpretation
    if space in _OF_JPEG_2000 and _syntax(dataset) not in JPEG_2000:
        raise Refused(f"its PhotometricInterpretation is {space}, which only JPEG 2000 has")
    if pixels.ndim == 2:  # noqa: PLR2004 - luma already
        return pixels
    if space not in {"RGB", *_OF_JPEG_2000}:
        return np.ascontiguousarray(pixels[..., 0])
    return _rgb_to_luma(pixels)


def _rgb_to_luma(colours: NDArray[np.uint8]) -> Image:
    from PIL import Image as PilImage

    return np.array(PilImage.fromarray(np.ascontiguousarray(colours)).convert("L"))
