"""Decode image files and DICOM files to uint8 greyscale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""A decoded radiograph: uint8 greyscale, ``[height, width]``, 0 is black."""
