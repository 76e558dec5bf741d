"""Speed of the first decoding and of occlusion masks."""

from __future__ import annotations

import shutil

import pytest

from robustness.perturbation.occlusion import PATTERNS, Occlusion

pytestmark = pytest.mark.benchmark

FILES, MASKS, SIDE = 32, 64, 1024


@pytest.mark.parametrize("pattern", PATTERNS)
def test_masks(timed, pattern):
    occlusion = Occlusion(pattern, 0.3)

    def draw():
        return [occlusion.mask(f"image {number}", SIDE, SIDE).mean() for number in range(MASKS)]

    assert len(timed(draw, items=MASKS)) == MASKS


def test_first_decoding(timed, tmp_path):
    from decoding import by_gate, make_images

    make_images(tmp_path / "images", FILES)
    paths = sorted((tmp_path / "images").iterdir())

    def empty():
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
        return (paths, tmp_path / "store"), {}

    assert timed(by_gate, setup=empty, items=FILES, rounds=3) == SIDE
