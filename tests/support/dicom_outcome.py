"""Decode possibly broken DICOM files in tests."""

from __future__ import annotations

import numpy as np

from robustness.errors import EvaluationSetError
from robustness.evalset.images.decode import decode_image


def outcome(content, name="folder/x.dcm"):
    """Return the image or the error message; any other exception fails the test."""
    try:
        image = decode_image(content, name)
    except EvaluationSetError as error:
        return str(error)
    assert image.dtype == np.uint8
    assert image.ndim == 2
    return image


def refused(content, reason):
    message = outcome(content)
    assert isinstance(message, str), "it was decoded"
    assert message.startswith("image folder/x.dcm "), message
    assert "\n" not in message
    assert len(message) < 700
    assert reason in message, message
