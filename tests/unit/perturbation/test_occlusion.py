"""Occlusion: hidden area, nesting, and independence of batch, order and process."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustness.perturbation import Occlusion, parse
from robustness.perturbation.occlusion import FILLS, PATTERNS
from robustness.perturbation.strategies import occlusions

SIZES = [(224, 224), (97, 131), (2500, 2048), (16, 16), (5, 40), (1, 1), (300, 7)]

any_occlusion = occlusions(levels=(0.0, 1.0))
any_id = st.text(max_size=20)
any_size = st.tuples(st.integers(1, 120), st.integers(1, 120))


def row_of_pixels(pattern: str, height: int, width: int) -> float:
    """Return the pixels in one row of a pattern's element: the box, or one cell."""
    if pattern == "square":
        return min(height, width)
    return -(-width // 16)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("level", [0, 0.001, 0.1, 0.3, 0.5, 0.7, 0.999, 1])
def test_hidden_area_is_exact_to_a_pixel_row(pattern, height, width, level):
    mask = Occlusion(pattern, level, seed=3).mask("some-image", height, width)
    assert mask.shape == (height, width)
    assert mask.dtype == np.bool_
    row = row_of_pixels(pattern, height, width)
    assert abs(mask.sum() - level * height * width) <= max(row / 2, 1)


@given(any_occlusion, any_id, any_size)
def test_a_level_of_one_hides_all_and_zero_nothing(occlusion, image_id, size):
    full = Occlusion(occlusion.pattern, 1, occlusion.fill, occlusion.seed)
    clean = Occlusion(occlusion.pattern, 0, occlusion.fill, occlusion.seed)
    assert full.mask(image_id, *size).all()
    assert not clean.mask(image_id, *size).any()


@given(any_occlusion, st.floats(0, 1), any_id, any_size)
def test_masks_of_one_seed_are_nested(occlusion, level, image_id, size):
    low, high = sorted((occlusion.level, level))
    masks = [
        Occlusion(occlusion.pattern, share, occlusion.fill, occlusion.seed).mask(image_id, *size)
        for share in (low, high)
    ]
    assert not (masks[0] & ~masks[1]).any()


@given(any_occlusion, any_id, any_size)
def test_apply_fills_the_mask_and_leaves_the_rest(occlusion, image_id, size):
    image = np.random.default_rng(0).integers(1, 127, size, dtype=np.uint8)
    before = image.copy()
    occluded = occlusion.apply(image, image_id)
    mask = occlusion.mask(image_id, *size)
    assert (occluded[mask] == FILLS[occlusion.fill]).all()
    assert (occluded[~mask] == image[~mask]).all()
    assert (image == before).all()


@given(any_occlusion, any_id, any_size)
def test_the_hidden_share_equals_the_mean_of_the_mask(occlusion, image_id, size):
    share = occlusion.hidden_share(image_id, *size)
    assert type(share) is float
    assert share == float(occlusion.mask(image_id, *size).mean())


@given(occlusions(levels=(0.01, 1.0)), any_id, any_size)
def test_boxes_do_not_overlap_and_are_inside_the_image(occlusion, image_id, size):
    boxes = occlusion.boxes(image_id, *size)
    covered = np.zeros(size, dtype=int)
    for top, bottom, left, right in boxes:
        assert 0 <= top <= bottom <= size[0]
        assert 0 <= left <= right <= size[1]
        covered[top:bottom, left:right] += 1
    assert covered.max() <= 1


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_fill_does_not_change_the_mask(pattern):
    masks = [Occlusion(pattern, 0.4, fill, 5).mask("a", 60, 80) for fill in FILLS]
    assert all((mask == masks[0]).all() for mask in masks)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_seeds_and_images_change_the_mask(pattern):
    masks = [
        Occlusion(pattern, 0.3, "black", seed).mask(image_id, 64, 64)
        for seed, image_id in itertools.product(range(4), "abcd")
    ]
    assert len({mask.tobytes() for mask in masks}) == len(masks)


def test_masks_ignore_global_random_state_order_and_process():
    occlusion = Occlusion("grid", 0.35, "grey", 11)
    expected = {name: occlusion.mask(name, 50, 70).tobytes() for name in ("a", "b", "c")}
    np.random.seed(1)  # noqa: NPY002
    assert {name: occlusion.mask(name, 50, 70).tobytes() for name in "cab"} == expected
    script = (
        "import sys; from robustness.perturbation.occlusion import Occlusion;"
        "sys.stdout.buffer.write(Occlusion('grid', .35, 'grey', 11).mask('b', 50, 70).tobytes())"
    )
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert other.stdout == expected["b"]


def test_masks_stay_the_same_between_versions():
    """If this fails, all published results change: raise SCHEMA and note it in the changelog."""
    square = Occlusion("square", 0.25, "black", 0).mask("study-1", 8, 8)
    rows, columns = np.nonzero(square)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 6, 0, 3)
    grid = Occlusion("grid", 0.02, "black", 0).mask("study-1", 16, 16)
    hidden = set(zip(*(axis.tolist() for axis in np.nonzero(grid)), strict=True))
    assert hidden == {(0, 12), (3, 13), (9, 0), (9, 1), (12, 13)}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_pixel_is_hidden_with_about_equal_frequency(pattern):
    """Positions are uniform; a box covers a border pixel less often than the centre."""
    masks = [Occlusion(pattern, 0.25, "black", 0).mask(str(i), 32, 32) for i in range(2000)]
    frequency = np.mean(masks, axis=0)
    assert frequency.mean() == pytest.approx(0.25, abs=0.005)
    # 5 standard errors of a mean over 2,000 draws; mirrored positions are equally likely.
    for mirrored in (frequency[::-1], frequency[:, ::-1], frequency.T):
        assert np.abs(frequency - mirrored).max() < 5 * np.sqrt(2 * 0.25 / 2000)
    if pattern == "grid":
        assert frequency.min() > 0.25 - 5 * np.sqrt(0.25 * 0.75 / 2000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("stripes", 0.1, "black", 0), "unknown pattern 'stripes'; allowed are square, grid"),
        (("square", 0.1, "pink", 0), "unknown fill 'pink'; allowed are black, grey"),
        (("square", 1.1, "black", 0), "level 1.1 is outside 0 to 1"),
        (("square", 30, "black", 0), "level 30 is outside 0 to 1"),
        (("square", -0.1, "black", 0), "level -0.1 is outside 0 to 1"),
        (("square", float("nan"), "black", 0), "level nan is outside 0 to 1"),
        (("square", 0.1, "black", -1), "seed -1 is negative"),
    ],
)
def test_invalid_attributes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Occlusion(*arguments)


def test_invalid_images_are_refused():
    occlusion = Occlusion("square", 0.1)
    with pytest.raises(ValueError, match=r"image 'x' is float64 of shape \(4, 4\)"):
        occlusion.apply(np.zeros((4, 4)), "x")
    with pytest.raises(ValueError, match="image 'x' has size 0 x 4"):
        occlusion.mask("x", 0, 4)


@given(any_occlusion)
def test_parse_is_the_inverse_of_str(occlusion):
    assert parse(str(occlusion)) == Occlusion.parse(str(occlusion)) == occlusion


def test_numpy_levels_have_the_same_text():
    assert str(Occlusion("square", np.float64(0.3))) == "square:0.3:black:0"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "square",
        "square:x:black:0",
        "square:0.3:black:0:1",
        "box:0.3:black:0",
        "square:2:black:0",
        "square:0.3:red:0",
        "square:0.3:black:-1",
        "square:0.3:black:0.5",
        "square:0.3:black:\n",
    ],
)
def test_invalid_text_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match="is not pattern:level:fill:seed, such as") as caught:
        parse(text)
    message = str(caught.value)
    assert message.isprintable()
    assert message.endswith(
        "allowed are pattern square or grid, level 0 to 1, fill black or grey, seed an integer of"
        " at least 0"
    )
