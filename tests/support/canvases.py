"""Shared by the tests of canvases."""

from __future__ import annotations

import numpy as np


def canvas_of(images):
    """Return the images in one batch, padded with noise."""
    import torch

    shape = np.max([image.shape for image in images], axis=0) + 3
    canvas = np.random.default_rng(0).integers(0, 256, (len(images), *shape), np.uint8)
    for rows, image in zip(canvas, images, strict=True):
        rows[: image.shape[0], : image.shape[1]] = image
    return torch.from_numpy(canvas)
