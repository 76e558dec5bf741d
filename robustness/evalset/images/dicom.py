"""Decode DICOM files to uint8 greyscale.

Supported are images of one frame: uncompressed, deflated, RLE, JPEG (8 and 12 bit, lossless),
JPEG-LS and JPEG 2000. Greyscale of 1 to 16 bits is rendered as displayed
(:mod:`robustness.evalset.images.display`). Colour of 8 bits becomes ITU-R 601-2 luma; for
``YBR_FULL`` and lossy JPEG this is the stored luma. pydicom reads the attributes and
uncompressed pixels, :mod:`robustness.evalset.images.codestream` compressed pixels.

Only pixels and display attributes are checked against the standard: a long name or an unknown
character set elsewhere in the file does not affect the image.
"""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustness._util.text import counted
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
from robustness.evalset.images.display import palette, render
from robustness.evalset.images.limits import MAX_BYTES, Refused, check_size
from robustness.extras import require_installed

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = (".dcm", ".dicom")
"""Suffixes of DICOM files that may lack the preamble."""

_IMPLICIT, _EXPLICIT, _BIG = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2"))
_DEFLATED, _RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
_NATIVE = frozenset({_IMPLICIT, _EXPLICIT, _BIG, _DEFLATED})
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
_SAMPLES = dict.fromkeys((*_MONOCHROME, "PALETTE COLOR"), 1) | dict.fromkeys(
    ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"), 3
)
_JPEG_2000_SPACES = ("YBR_ICT", "YBR_RCT")

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
"""The attributes that are read besides the pixels; all others are skipped."""

_MAX_READS = 2**18
_MAX_ATTRIBUTE = 2**20
"""Maximum reads by pydicom, and maximum bytes of an attribute other than the pixels (a table has
128 KiB). They bound memory: every few bytes of a hostile file can become a Python object."""

PREAMBLE_BYTES = 132
"""Bytes needed to recognise a DICOM file."""


def is_dicom(content: bytes) -> bool:
    """Return True if the first :data:`PREAMBLE_BYTES` bytes are a DICOM preamble."""
    return content[128:132] == b"DICM"


def require_libraries(name: str, content: bytes) -> None:
    """Check that the optional libraries are installed, if an image is a DICOM file.

    A set calls this when it is loaded: without the libraries, none of its images can be decoded.

    Args:
        name: The name of the image in errors, such as its path.
        content: At least the first :data:`PREAMBLE_BYTES` bytes.

    Raises:
        UsageError: A library is missing.
    """
    if is_dicom(content) or name.lower().endswith(SUFFIXES):
        require_installed(f"image {name}, a DICOM file,", ("pydicom", "imagecodecs"), "dicom")


def read_dicom(content: bytes) -> Image:
    """Decode a DICOM file.

    Args:
        content: The whole file.

    Returns:
        uint8 ``[height, width]``, 0 is black, at full size.

    Raises:
        Refused: The file is damaged, too large or not supported.
    """
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        return _decode(_dataset(_inflated(content)))
    except (BytesLengthException, InvalidDicomError) as error:
        raise Refused(str(error)) from error


def _dataset(content: bytes) -> Dataset:
    from pydicom import dcmread

    file = _BoundedReader(content)
    try:
        return dcmread(file, force=True, specific_tags=["PixelData", *_FLOATS, *_ATTRIBUTES])
    except OSError as error:
        if file.reads > _MAX_READS:  # pydicom replaces the exception raised there
            raise Refused(
                "it has more elements than an image needs, as in a decompression bomb"
            ) from error
        raise


def _decode(dataset: Dataset) -> Image:
    samples = _check_attributes(dataset)
    pixels, header = _pixels(dataset, samples)
    if samples > 1:
        return _luma(pixels, dataset)
    words = pixels.view(f"u{pixels.dtype.itemsize}")
    stored = _stored(words.dtype.itemsize, dataset, header)
    if dataset.PhotometricInterpretation != "PALETTE COLOR":
        return render(words, stored, dataset)
    image: Image = np.take(_rgb_to_luma(palette(stored, dataset)[None])[0], words)
    return image


class _BoundedReader(io.BytesIO):
    """A file that raises after :data:`_MAX_READS` reads."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > _MAX_READS:
            raise OSError("too many elements")
        return super().read(size)


def _inflated(content: bytes) -> bytes:
    """Return the data set of a deflated file; any other file unchanged.

    pydicom inflates without a limit, so it must never see this transfer syntax.
    """
    if _DEFLATED.encode() not in content:
        return content
    start = 144 + int.from_bytes(content[140:144], "little")
    if content[128:138] != b"DICM\x02\x00\x00\x00UL":
        raise Refused("it is deflated, and the length of its file meta information is missing")
    # A negative window size selects a raw stream without a header.
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(content[start:], MAX_BYTES + 1)
    if len(inflated) > MAX_BYTES:
        raise Refused(f"it inflates to more than {MAX_BYTES} bytes, as in a decompression bomb")
    if not inflater.eof:
        raise Refused("its deflated data set is truncated")
    if _DEFLATED.encode() in inflated:
        raise Refused("it is deflated twice")
    return inflated


def _check_attributes(dataset: Dataset) -> int:
    """Raise if an attribute of the pixels is not supported; return the samples per pixel."""
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
            f" {counted(samples, 'sample')} per pixel; allowed are"
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
    """Return the stored pixels, and the header of their codestream if compressed."""
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
        raise Refused(
            f"its codestream has {header.bits} bits per sample; {allocated} are allocated"
        )
    return pixels, header


def _native(syntax: str, dataset: Dataset) -> NDArray[Any]:
    from pydicom.pixels.decoders.base import get_decoder

    # Unused bits are masked in _stored, where HighBit is known.
    options: dict[str, Any] = {"correct_unused_bits": False}
    pixels, _ = get_decoder(syntax).as_array(dataset, raw=True, index=0, **options)
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))


def _syntax(dataset: Dataset) -> str:
    uid = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    if uid:
        return str(uid)
    implicit, little = dataset.original_encoding
    return _IMPLICIT if implicit else _EXPLICIT if little else _BIG


def _stored(size: int, dataset: Dataset, header: Header | None) -> NDArray[np.int64]:
    """Return the pixel value of every word of ``size`` bytes, without the unused bits.

    Values that lossy compression moved outside the range of the stored bits are clipped. JPEG
    has no signed numbers and JPEG 2000 headers are sometimes wrong, so the sign comes from the
    file header; the sign bit is the highest bit of the codestream.
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
    if space in _JPEG_2000_SPACES and _syntax(dataset) not in JPEG_2000:
        raise Refused(f"its PhotometricInterpretation is {space}, which only JPEG 2000 has")
    if pixels.ndim == 2:  # noqa: PLR2004 - already luma
        return pixels
    if space not in {"RGB", *_JPEG_2000_SPACES}:
        return np.ascontiguousarray(pixels[..., 0])
    return _rgb_to_luma(pixels)


def _rgb_to_luma(colours: NDArray[np.uint8]) -> Image:
    from PIL import Image as PilImage

    return np.array(PilImage.fromarray(np.ascontiguousarray(colours)).convert("L"))
