"""Decode image files to uint8 greyscale.

The format is detected from the content: DICOM (:mod:`robustness.evalset.images.dicom`) or one
of :data:`FORMATS`. Other formats are refused.

- 8-bit greyscale is kept; 1-bit becomes 0 and 255.
- Colour, including palettes, becomes ITU-R 601-2 luma; for JPEG, the stored luma.
- Greyscale of more than 8 bits, and 32-bit floating point, is scaled linearly from its own
  lowest and highest value to 0 and 255 without clipping; a flat image is black. White-is-zero
  is inverted after scaling.
- CMYK becomes the luma of Pillow's RGB conversion.
- Alpha channels, colour profiles and the EXIF orientation are ignored.

``side`` limits the longer side. A smaller image is unchanged. A larger one is reduced to the
size of ``PIL.Image.Image.thumbnail`` with Pillow's antialiased bicubic filter, after scaling to
8 bits. A JPEG is first reduced in the frequency domain (Pillow's draft mode) to a half, a
quarter or an eighth, never below that size.

Refused with a one-line error: damaged or truncated files, more than
:data:`~robustness.evalset.images.limits.MAX_PIXELS` pixels, several images in a file, and
images that would lose bits silently (16-bit colour, or 16-bit greyscale with alpha).
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageFile, UnidentifiedImageError

from robustness.errors import EvaluationSetError
from robustness.evalset.images import Image
from robustness.evalset.images.decoder_warnings import decoder_warning_filters
from robustness.evalset.images.dicom import (
    PREAMBLE_BYTES,
    SUFFIXES,
    is_dicom,
    read_dicom,
    require_libraries,
)
from robustness.evalset.images.limits import MAX_BYTES, Refused, check_scans, check_size

DECODING = "decoding-2"
"""Version of the decoding rule; must change when a file may decode to other pixels."""

FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF")
"""Formats that Pillow may read; PPM includes PGM and PBM."""

_UNSIGNED, _SIGNED = 1, 2
_WHITE_IS_ZERO = 0
_TAG_PHOTOMETRIC, _TAG_SAMPLE_FORMAT = 262, 339

_MAX_MESSAGE = 500
"""Maximum characters of a library message, which may quote the file content."""

_DAMAGE = (
    Refused,
    OSError,  # Pillow: truncated data and invalid data streams
    SyntaxError,  # Pillow: invalid headers
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
    RuntimeError,  # includes RecursionError
    EOFError,
    struct.error,
    zlib.error,
    PilImage.DecompressionBombError,
    Warning,  # Pillow's warnings of damage
)
"""Exceptions of the libraries for damaged files: their parsers validate little."""


def read_image(path: Path, side: int | None = None) -> Image:
    """Decode an image file.

    Args:
        path: A DICOM file, or one of :data:`FORMATS`.
        side: Maximum pixels of the longer side; None for the original size.

    Returns:
        uint8 ``[height, width]``, 0 is black.

    Raises:
        EvaluationSetError: The file is missing, damaged, too large, or not an image.
    """
    try:
        _check_file(path)
        file = path.open("rb")
    except FileNotFoundError as error:
        raise EvaluationSetError(f"image {path} does not exist") from error
    except (Refused, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EvaluationSetError(f"image {path} cannot be decoded: {reason}") from error
    with file:
        return _decoded(file, str(path), side)


def decode_image(content: bytes, name: str, side: int | None = None) -> Image:
    """Decode an image from the bytes of a file.

    Args:
        content: The whole file.
        name: The name of the image in errors, such as its path.
        side: Maximum pixels of the longer side; None for the original size.

    Returns:
        uint8 ``[height, width]``, 0 is black.

    Raises:
        EvaluationSetError: The content is damaged, too large, or not an image.
    """
    return _decoded(io.BytesIO(content), name, side)


def _decoded(file: BinaryIO, name: str, side: int | None) -> Image:
    try:
        with decoder_warning_filters(), np.errstate(all="raise", under="ignore"):
            return _decode(file, name, side)
    except UnidentifiedImageError as error:
        problem = "is not in a supported format" if _read_all(file) else "is empty"
        raise EvaluationSetError(
            f"image {name} {problem}; allowed are DICOM, {', '.join(FORMATS)}"
        ) from error
    except _DAMAGE as error:
        reason = " ".join(str(error)[:_MAX_MESSAGE].split()) or type(error).__name__
        raise EvaluationSetError(f"image {name} cannot be decoded: {reason}") from error


def _check_file(path: Path) -> None:
    size = path.stat().st_size
    if path.is_dir():
        raise Refused("it is a folder")
    if not path.is_file():  # opening a pipe would block
        raise Refused("it is not a regular file")
    if size > MAX_BYTES:
        raise Refused(f"it has {size} bytes; at most {MAX_BYTES} are read")


def _read_all(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _decode(file: BinaryIO, name: str, side: int | None) -> Image:
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise Refused(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set, so damage would pass for pixels; unset it"
        )
    start = file.read(PREAMBLE_BYTES)
    require_libraries(name, start)
    if is_dicom(start):
        return _reduce(read_dicom(_read_all(file)), side)
    try:
        return _decode_pillow(file, side)
    except UnidentifiedImageError:
        if name.lower().endswith(SUFFIXES) and (content := _read_all(file)):
            return _reduce(read_dicom(content), side)
        raise


def _decode_pillow(file: BinaryIO, side: int | None) -> Image:
    # Pillow reads from the file in chunks; reading it all first costs page faults.
    with PilImage.open(file, formats=FORMATS) as opened:
        check_size(*opened.size)
        if (frames := getattr(opened, "n_frames", 1)) != 1:
            raise Refused(f"it contains {frames} images; allowed is one")
        if opened.format == "JPEG":
            # Sequential greyscale has one scan; counting scans would cost 5 % of the time.
            if opened.mode != "L" or opened.info.get("progressive"):
                check_scans(_read_all(file))
            return _jpeg(opened, _reduced_size(*opened.size, side))
        _check_depth(opened)
        opened.load()
        return _reduce(_grey(opened), side)


def _reduce(image: Image, side: int | None) -> Image:
    height, width = image.shape
    final = _reduced_size(width, height, side)
    if final == (width, height):
        return image
    return np.asarray(PilImage.fromarray(image).resize(final, PilImage.Resampling.BICUBIC))


def _reduced_size(width: int, height: int, side: int | None) -> tuple[int, int]:
    """Return width and height with the longer side at most ``side``, nearest in shape."""
    if side is None or max(width, height) <= side:
        return width, height
    short, long = sorted((width, height))
    # Pillow's thumbnail picks the rounding whose aspect ratio is nearer.
    near = {max(short * side // long, 1), max(-(-short * side // long), 1)}
    if width == short:
        return min(sorted(near), key=lambda n: abs(width / height - n / side)), side
    return side, min(sorted(near), key=lambda n: abs(width / height - side / n))


def _stretch(values: NDArray[Any]) -> Image:
    """Scale linearly from the lowest and highest value to 0 and 255."""
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise Refused("it has values that are not finite numbers")
    span = high - low if high > low else np.inf
    if values.dtype != np.uint16:
        return np.rint((values.astype(np.float64) - low) * 255 / span).astype(np.uint8)
    # A lookup table is faster than float64 arithmetic per pixel.
    possible = np.clip(np.arange(2**16, dtype=np.float64), low, high)
    image: Image = np.take(np.rint((possible - low) * 255 / span).astype(np.uint8), values)
    return image


def _jpeg(opened: PilImage.Image, final: tuple[int, int]) -> Image:
    box = (0.0, 0.0, float(opened.width), float(opened.height))
    size = opened.size
    drafted = opened.draft("L", final)
    opened.load()
    grey = opened if opened.mode == "L" else opened.convert("L")
    if size == final:
        return np.asarray(grey)
    # If a side is not a multiple of the draft factor, the last pixel is only partly covered.
    return np.asarray(
        grey.resize(final, PilImage.Resampling.BICUBIC, box=drafted[1] if drafted else box)
    )


def _grey(opened: PilImage.Image) -> Image:
    if opened.mode == "L":
        return np.asarray(opened)
    if opened.mode.startswith("I") or opened.mode == "F":
        values = np.asarray(opened)
        if opened.mode == "I" and _tag(opened, _TAG_SAMPLE_FORMAT, _UNSIGNED) == _UNSIGNED:
            values = values.view(np.uint32)  # Pillow has no uint32 mode and reads it as signed
        image = _stretch(values)
        # Pillow inverts white-is-zero images itself, but only with 8 bits.
        return 255 - image if _tag(opened, _TAG_PHOTOMETRIC) == _WHITE_IS_ZERO else image
    # With transparency, Pillow would warn about the conversion of palettes.
    opened.info.pop("transparency", None)
    if opened.mode == "La":
        opened = opened.convert("LA")
    return np.asarray(opened.convert("L"))


def _check_depth(opened: ImageFile.ImageFile) -> None:
    """Raise if Pillow would silently read the samples with another depth or sign."""
    args = opened.tile[0].args if opened.tile else None
    packing = args[0] if isinstance(args, tuple) and args else args
    if ";16" in str(packing) and not opened.mode.startswith("I"):
        raise Refused(
            "it has 16 bits per sample and several samples per pixel; save it as 16-bit greyscale"
            " without alpha, or with 8 bits"
        )
    if opened.mode == "L" and _tag(opened, _TAG_SAMPLE_FORMAT) == _SIGNED:
        raise Refused("it has signed samples of 8 bits; save it with 16 bits")


def _tag(opened: PilImage.Image, tag: int, default: int = -1) -> int:
    """Return the first number of a TIFF tag."""
    value = getattr(opened, "tag_v2", {}).get(tag, default)
    return int(value[0] if isinstance(value, tuple) else value)
