"""What an image may be at most, and how one that may not be read is refused."""

from __future__ import annotations

LIMIT = 2**26
"""Pixels of an image at most, 8192 x 8192: more than three of the largest flat detectors."""

MAX_BYTES = 2**29
"""Bytes of a file at most, and of what a deflated one holds."""

MAX_SCANS = 100
"""Scans of a JPEG codestream at most. Encoders write ten or so; each costs a pass over the image
however few bytes it has, so that thousands would hang the decoder."""


class Refused(Exception):  # noqa: N818 - becomes an EvaluationSetError that names the image
    """What is wrong with an image; the caller knows its name."""


def check_size(width: int, height: int) -> None:
    """Refuses an image of no pixels, or of more than :data:`LIMIT`.

    Raises:
        Refused: It has.
    """
    if width < 1 or height < 1:
        raise Refused(f"its size is {width} x {height}")
    if width * height > LIMIT:
        raise Refused(
            f"its {width} x {height} pixels are more than {LIMIT}, as in a decompression bomb"
        )


def check_scans(codestream: bytes) -> None:
    """Refuses a JPEG codestream of more than :data:`MAX_SCANS` scans.

    Raises:
        Refused: It has.
    """
    # Entropy-coded data never hold a marker, and metadata hardly so many.
    scans = codestream.count(b"\xff\xda")
    if scans > MAX_SCANS:
        raise Refused(f"its JPEG codestream has {scans} scans; at most {MAX_SCANS} are read")
