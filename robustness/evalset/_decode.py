"""Image files to uint8 greyscale, by one stated rule.

8-bit greyscale is taken as it is; colour becomes ITU-R 601-2 luma; 16-bit greyscale is
scaled linearly from its own lowest and highest value to 0 and 255, never clipped.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as PilImage
from PIL import UnidentifiedImageError

from robustness.errors import EvaluationSetError
from robustness.evalset._base import Image

DECODING = "decoding-1"
"""Changes when a file may decode to other pixels than before."""


def read_image(path: Path, side: int | None = None) -> Image:  # noqa: ARG001
    """Decodes an image file.

    Args:
        path: A file in a format that Pillow reads.
        side: The longest side the image is kept at; None as it is.

    Returns:
        uint8 ``[height, width]``, 0 black.

    Raises:
        EvaluationSetError: The file is missing, damaged, or not an image.
    """
    try:
        with PilImage.open(path) as opened:
            opened.load()
            return _to_grey(opened)
    except FileNotFoundError as error:
        raise EvaluationSetError(f"image {path} does not exist") from error
    except UnidentifiedImageError as error:
        raise EvaluationSetError(f"image {path} is in no format that can be read") from error
    except (OSError, SyntaxError, ValueError, PilImage.DecompressionBombError) as error:
        raise EvaluationSetError(f"image {path} cannot be decoded: {error}") from error


def _to_grey(opened: PilImage.Image) -> Image:
    if opened.mode == "L":
        return np.array(opened)
    if opened.mode.startswith("I") or opened.mode == "F":
        values = np.asarray(opened).astype(np.float64)
        low, high = values.min(), values.max()
        scale = 255 / (high - low) if high > low else 0.0
        return np.asarray(np.rint((values - low) * scale), dtype=np.uint8)
    return np.array(opened.convert("L"))
