"""Occlusion of a batch on its device: equal to that of each image alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustness.perturbation.occlusion import CLEAN, FILLS, PATTERNS, Occlusion
from robustness.perturbation.strategies import occlusions

sizes = st.lists(st.tuples(st.integers(1, 70), st.integers(1, 70)), min_size=1, max_size=5)


def occluded(occlusion, shapes, spare=2):
    """Return a batch with noise in its padding, before and after, and the images' ids."""
    import torch

    from robustness.embedding.padded import apply_on_device

    height, width = np.max(shapes, axis=0) + spare
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 256, (len(shapes), height, width), np.uint8)
    names = [f"image-{number}" for number in range(len(shapes))]
    after = apply_on_device(occlusion, torch.from_numpy(batch.copy()), names, shapes)
    assert after.dtype == torch.uint8
    return batch, after.numpy(), names


def assert_equal_to_apply(occlusion, shapes):
    before, after, names = occluded(occlusion, shapes)
    for rows, changed, name, (height, width) in zip(before, after, names, shapes, strict=True):
        expected = rows.copy()
        expected[:height, :width] = occlusion.apply(rows[:height, :width], name)
        assert np.array_equal(changed, expected), "the padding must not change"


@settings(max_examples=100)
@given(occlusions(levels=(0.0, 1.0)), sizes)
def test_each_image_of_a_batch_is_occluded_as_alone(occlusion, shapes):
    assert_equal_to_apply(occlusion, shapes)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("fill", FILLS)
def test_images_of_full_size(pattern, fill):
    assert_equal_to_apply(Occlusion(pattern, 0.37, fill, 5), [(1200, 1024), (1024, 900)])


def test_the_input_is_not_modified():
    import torch

    from robustness.embedding.padded import apply_on_device

    images = torch.full((2, 30, 30), 77, dtype=torch.uint8)
    hidden = apply_on_device(Occlusion("grid", 1), images, ["a", "b"], [(30, 30)] * 2)
    assert not hidden.any()
    assert (images == 77).all()
    assert apply_on_device(CLEAN, images, ["a", "b"], [(30, 30)] * 2) is images
