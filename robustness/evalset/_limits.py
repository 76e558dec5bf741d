"""What an image may be at most, and how one that may not be read is refused."""

from __future__ import annotations

LIMIT = 2**26
"""Pixels of an image at most, 8192 x 8192: more than three of the largest flat detectors."""

MAX_BYTES = 2**29
"""Bytes of a file at most, and of what a deflated one holds."""

NEEDS_DICOM = "pip install 'robustness-gate[dicom]'"


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
