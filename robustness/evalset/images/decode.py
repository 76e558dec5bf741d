"""Image files to uint8 greyscale, by one stated rule.

The format is told from the content: a DICOM file (see ``_dicom``), or one of
:data:`FORMATS`. Nothing else is read.

- 8-bit greyscale is taken as it is, 1-bit as 0 and 255.
- Colour, a palette's too, becomes ITU-R 601-2 luma; of a JPEG, the luma it stores.
- Greyscale of more bits, and floating point of 32, is scaled linearly from its own lowest and
  highest value to 0 and 255, never clipped; a flat image is black. White-is-zero is inverted
  after that.
- CMYK becomes the luma of the RGB that Pillow makes of it.
- An alpha channel is left out, whatever it hides; colour profiles and the orientation that a
  camera notes are not applied.

``side`` bounds the longer side. A smaller image is left as it is; a larger one is reduced to
the size that ``PIL.Image.Image.thumbnail`` gives it, by Pillow's antialiased bicubic filter.
A JPEG is first reduced in its own cosine transform (Pillow's draft mode), to a half, a quarter
or an eighth, never below that size. All other images are scaled to 8 bits before.

Refused, in one line: what is damaged or truncated, more than :data:`LIMIT` pixels, several
images in a file, and what would lose bits unseen (16-bit colour, or greyscale with alpha).
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
from robustness.evalset.images.decoder_warnings import settled_warnings
from robustness.evalset.images.dicom import PREAMBLE, SUFFIXES, is_dicom, read_dicom
from robustness.evalset.images.limits import MAX_BYTES, Refused, check_scans, check_size

DECODING = "decoding-2"
"""Changes when a file may decode to other pixels than before."""

FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF")
"""What Pillow is asked to read; PPM holds PGM and PBM."""

_UNSIGNED, _SIGNED = 1, 2
_WHITE_IS_ZERO = 0
_TAG_PHOTOMETRIC, _TAG_SAMPLE_FORMAT = 262, 339

_MESSAGE = 500
"""Characters of a library's message at most: it may quote what it could not read."""

_DAMAGE = (
    Refused,
    OSError,  # Pillow's own, for truncated data and data streams that do not decode
    SyntaxError,  # Pillow's own, for headers
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
    RuntimeError,  # of nesting, too
    EOFError,
    struct.error,
    zlib.error,
    PilImage.DecompressionBombError,
    Warning,  # Pillow's warnings of damage
)
"""What the libraries raise on damaged files: their parsers check little before they index."""


def read_image(path: Path, side: int | None = None) -> Image:
    """Decodes an image file.

    Args:
        path: A DICOM file, or one of :data:`FORMATS`.
        side: Pixels of the longer side at most; None as it is.

    Returns:
        uint8 ``[height, width]``, 0 black.

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
    """Decodes an image from a file's bytes.

    Args:
        content: The whole file.
        name: What an error calls the image, such as its path.
        side: Pixels of the longer side at most; None as it is.

    Returns:
        uint8 ``[height, width]``, 0 black.

    Raises:
        EvaluationSetError: The content is damaged, too large, or no image.
    """
    return _decoded(io.BytesIO(content), name, side)


def _decoded(file: BinaryIO, name: str, side: int | None) -> Image:
    try:
        with settled_warnings(), np.errstate(all="raise", under="ignore"):
            return _decode(file, name, side)
    except UnidentifiedImageError as error:
        what = "is in no format that can be read" if _whole(file) else "is empty"
        raise EvaluationSetError(
            f"image {name} {what}; allowed are DICOM, {', '.join(FORMATS)}"
        ) from error
    except _DAMAGE as error:
        reason = " ".join(str(error)[:_MESSAGE].split()) or type(error).__name__
        raise EvaluationSetError(f"image {name} cannot be decoded: {reason}") from error


def _check_file(path: Path) -> None:
    size = path.stat().st_size
    if path.is_dir():
        raise Refused("it is a folder")
    if not path.is_file():  # opening a pipe would wait for someone to write
        raise Refused("it is no regular file")
    if size > MAX_BYTES:
        raise Refused(f"it has {size} bytes; at most {MAX_BYTES} are read")


def _whole(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _decode(file: BinaryIO, name: str, side: int | None) -> Image:
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise Refused(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set, so damage would pass for pixels; unset it"
        )
    if is_dicom(file.read(PREAMBLE)):
        return _reduced(read_dicom(_whole(file)), side)
    try:
        return _picture(file, side)
    except UnidentifiedImageError:
        if name.lower().endswith(SUFFIXES) and (content := _whole(file)):
            return _reduced(read_dicom(content), side)
        raise


def _picture(file: BinaryIO, side: int | None) -> Image:
    # Pillow reads a picture piece by piece: a whole file in memory would cost page faults.
    with PilImage.open(file, formats=FORMATS) as opened:
        check_size(*opened.size)
        if (frames := getattr(opened, "n_frames", 1)) != 1:
            raise Refused(f"it holds {frames} images; allowed is one")
        if opened.format == "JPEG":
            # Greyscale in one pass has one scan, and looking for more costs a twentieth.
            if opened.mode != "L" or opened.info.get("progressive"):
                check_scans(_whole(file))
            return _jpeg(opened, _reduced_size(*opened.size, side))
        _check_depth(opened)
        opened.load()
        return _reduced(_grey(opened), side)


def _reduced(image: Image, side: int | None) -> Image:
    height, width = image.shape
    final = _reduced_size(width, height, side)
    if final == (width, height):
        return image
    return np.asarray(PilImage.fromarray(image).resize(final, PilImage.Resampling.BICUBIC))


def _reduced_size(width: int, height: int, side: int | None) -> tuple[int, int]:
    """Width and height with the longer side at most ``side``, the shape kept best."""
    if side is None or max(width, height) <= side:
        return width, height
    short, long = sorted((width, height))
    # Of the two whole numbers about the exact length, the one whose shape is nearer.
    near = {max(short * side // long, 1), max(-(-short * side // long), 1)}
    if width == short:
        return min(sorted(near), key=lambda n: abs(width / height - n / side)), side
    return side, min(sorted(near), key=lambda n: abs(width / height - side / n))


def _stretch(values: NDArray[Any]) -> Image:
    """Scales linearly from the lowest and highest value to 0 and 255."""
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise Refused("it has values that are no finite numbers")
    span = high - low if high > low else np.inf
    if values.dtype != np.uint16:
        return np.rint((values.astype(np.float64) - low) * 255 / span).astype(np.uint8)
    # A table of what can occur is quicker than as many float64 as there are pixels.
    every = np.clip(np.arange(2**16, dtype=np.float64), low, high)
    image: Image = np.take(np.rint((every - low) * 255 / span).astype(np.uint8), values)
    return image


def _jpeg(opened: PilImage.Image, final: tuple[int, int]) -> Image:
    box = (0.0, 0.0, float(opened.width), float(opened.height))
    size = opened.size
    drafted = opened.draft("L", final)
    opened.load()
    grey = opened if opened.mode == "L" else opened.convert("L")
    if size == final:
        return np.asarray(grey)
    # Where a side is no multiple of the draft's factor, the last row is part of a pixel.
    return np.asarray(
        grey.resize(final, PilImage.Resampling.BICUBIC, box=drafted[1] if drafted else box)
    )


def _grey(opened: PilImage.Image) -> Image:
    if opened.mode == "L":
        return np.asarray(opened)
    if opened.mode.startswith("I") or opened.mode == "F":
        values = np.asarray(opened)
        if opened.mode == "I" and _tag(opened, _TAG_SAMPLE_FORMAT, _UNSIGNED) == _UNSIGNED:
            values = values.view(np.uint32)  # Pillow has no such mode and reads it as signed
        image = _stretch(values)
        # Pillow inverts what is white at zero where it has 8 bits, and there alone.
        return 255 - image if _tag(opened, _TAG_PHOTOMETRIC) == _WHITE_IS_ZERO else image
    # Pillow would warn that greyscale cannot hold what a palette's colours hide.
    opened.info.pop("transparency", None)
    if opened.mode == "La":
        opened = opened.convert("LA")
    return np.asarray(opened.convert("L"))


def _check_depth(opened: ImageFile.ImageFile) -> None:
    """Refuses what Pillow would read as something else than it is."""
    args = opened.tile[0].args if opened.tile else None
    packing = args[0] if isinstance(args, tuple) and args else args
    if ";16" in str(packing) and not opened.mode.startswith("I"):
        raise Refused(
            "it has 16 bits a sample and several samples a pixel; save it as 16-bit greyscale"
            " without alpha, or with 8 bits"
        )
    if opened.mode == "L" and _tag(opened, _TAG_SAMPLE_FORMAT) == _SIGNED:
        raise Refused("it has signed samples of 8 bits; save it with 16 bits")


def _tag(opened: PilImage.Image, tag: int, default: int = -1) -> int:
    """A number of a TIFF file's directory, the first where it has several."""
    value = getattr(opened, "tag_v2", {}).get(tag, default)
    return int(value[0] if isinstance(value, tuple) else value)
