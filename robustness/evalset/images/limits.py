"""Limits of untrusted image files.

An evaluation set may come from anyone, so its image files are untrusted input. The guards here
bound the memory and time that one file can cost:

- :func:`check_size` answers decompression bombs: a small file with a huge declared size, for
  which the decoder would allocate the whole image.
- :data:`MAX_BYTES` answers files, and deflated content, that do not fit in memory.
- :func:`check_scans` answers progressive JPEG files with thousands of scans. A scan of a few
  bytes costs a pass over the whole image, so thousands of them would block the decoder.
"""

from __future__ import annotations

MAX_PIXELS = 2**26
"""Maximum pixels of an image, 8192 x 8192: more than three of the largest flat detectors."""

MAX_BYTES = 2**29
"""Maximum bytes of a file, and of the inflated content of a deflated file."""

MAX_SCANS = 100
"""Maximum scans of a JPEG codestream; encoders write about ten."""


class Refused(Exception):  # noqa: N818 - becomes an EvaluationSetError that names the image
    """An image is refused for the given reason; the caller adds the name of the image."""


def check_size(width: int, height: int) -> None:
    """Raise if an image has no pixels or more than :data:`MAX_PIXELS`.

    Raises:
        Refused: The size is not allowed.
    """
    if width < 1 or height < 1:
        raise Refused(f"its size is {width} x {height}")
    if width * height > MAX_PIXELS:
        raise Refused(
            f"its {width} x {height} pixels are more than {MAX_PIXELS}, as in a decompression bomb"
        )


def check_scans(codestream: bytes) -> None:
    """Raise if a JPEG codestream has more than :data:`MAX_SCANS` scans.

    Raises:
        Refused: There are too many scans.
    """
    # Entropy-coded data never contain this marker, and metadata rarely do.
    scans = codestream.count(b"\xff\xda")
    if scans > MAX_SCANS:
        raise Refused(f"its JPEG codestream has {scans} scans; at most {MAX_SCANS} are read")
