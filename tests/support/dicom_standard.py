"""Reference implementation of DICOM greyscale: PS3.3 C.11.1 and C.11.2, value by value."""

from __future__ import annotations

import math

import numpy as np


def values_of(stored, signed, low=None, high=None, shape=(12, 11)):
    """Return random pixel values that include ``low`` and ``high - 1``; default: the full range."""
    low = (-(2 ** (stored - 1)) if signed else 0) if low is None else low
    high = low + 2**stored if high is None else high
    values = np.random.default_rng(stored).integers(low, high, shape)
    values[0, 0], values[-1, -1] = low, high - 1
    return values


def by_window(x, center, width, function="LINEAR"):
    """Apply a window to one value (C.11.2.1.2 and C.11.2.1.3), with y from 0 to 255."""
    if function == "SIGMOID":
        power = -4 * (x - center) / width
        return 255 / (1 + math.exp(power)) if power < 700 else 0
    if function == "LINEAR_EXACT":
        if x <= center - width / 2:
            return 0
        return 255 if x > center + width / 2 else ((x - center) / width + 0.5) * 255
    if x <= center - 0.5 - (width - 1) / 2:
        return 0
    if x > center - 0.5 + (width - 1) / 2:
        return 255
    return ((x - (center - 0.5)) / (width - 1) + 0.5) * 255


def by_lut(x, entries, first):
    """Look up one value (C.11.1.1 and C.11.2.1.1), clipped to the first and last entry."""
    if x < first:
        return int(entries[0])
    return int(entries[min(int(x) - first, len(entries) - 1)])


def each(function, values):
    return np.array([function(float(x)) for x in values.flat]).reshape(values.shape)


def stretched(values, counted=None, *, inverted=False):
    """Stretch values to 0 to 255 by the range of ``counted``, by default of ``values``."""
    counted = values if counted is None else counted
    low, high = counted.min(), counted.max()
    grey = np.clip((values.astype(np.float64) - low) / (high - low) * 255, 0, 255)
    return 255 - grey if inverted else grey


def assert_nearest(image, expected):
    """Assert that every pixel is the grey level nearest to the expected value."""
    assert image.dtype == np.uint8
    assert image.shape == expected.shape
    assert np.abs(image - expected).max() <= 0.5 + 1e-9
    assert len(np.unique(image)) > 1  # a flat image would prove little


def luma(colours):
    """Return the luma of RGB colours (ITU-R BT.601)."""
    return colours.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
