"""Tests of the reference encoder: the encoder contract, preprocessing and retrieval."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustness.encoder import load
from robustness.evalset import phantom
from robustness.evalset._text import match

LOADER = "robustness.models.phantom:load"
TEXTS = [
    "There is a large left pleural effusion.",
    "No acute disease.",
    "",
    "The heart is mildly enlarged. Right chest tube in place. No pneumothorax. " * 4,
    "xyzzy plugh",
]


@pytest.fixture(scope="module")
def encoder():
    return load(LOADER)


@pytest.fixture(scope="module")
def radiographs():
    return [phantom.Study(9, index).image() for index in range(9)]


def embed(encoder, images):
    return encoder.encode_images(encoder.preprocess(images)).numpy()


# --- the contract ----------------------------------------------------------------------


def test_embeddings_are_float32_rows_of_unit_norm(encoder, radiographs):
    for rows in (encoder.encode_images(encoder.preprocess(radiographs)),
                 encoder.encode_reports(TEXTS)):  # fmt: skip
        assert str(rows.dtype) == "torch.float32"
        assert not rows.requires_grad
        assert rows.shape[1] == encoder.embedding_dim
        np.testing.assert_allclose(np.linalg.norm(rows.numpy(), axis=1), 1, atol=1e-5)


def test_an_empty_batch_gives_no_rows(encoder):
    assert embed(encoder, []).shape == (0, encoder.embedding_dim)
    assert encoder.encode_reports([]).shape == (0, encoder.embedding_dim)


@pytest.fixture(scope="module")
def alone(encoder, radiographs):
    return np.concatenate([embed(encoder, [image]) for image in radiographs])


@settings(max_examples=8)
@given(order=st.lists(st.integers(0, 8), min_size=1, max_size=12))
def test_an_image_embedding_does_not_depend_on_the_batch(encoder, radiographs, alone, order):
    together = embed(encoder, [radiographs[index] for index in order])
    np.testing.assert_allclose(together, alone[order], atol=1e-5)


words = st.sampled_from(
    ["left", "right", "effusion", "no", "heart", ".", ",", "tube", "xyzzy", "3"]
)


@settings(max_examples=20)
@given(texts=st.lists(st.lists(words, max_size=200).map(" ".join), min_size=1, max_size=8))
def test_a_text_embedding_does_not_depend_on_the_batch(encoder, texts):
    alone = np.concatenate([encoder.encode_reports([text]).numpy() for text in texts])
    np.testing.assert_allclose(encoder.encode_reports(texts).numpy(), alone, atol=1e-5)


def test_tokens_beyond_the_limit_are_ignored(encoder):
    limit = encoder.text_policy.max_tokens
    full = " ".join(["effusion"] * limit)
    same, longer, shorter = encoder.encode_reports(
        [full, full + " large left mass", full.removesuffix("effusion") + "mass"]
    ).numpy()
    np.testing.assert_allclose(longer, same, atol=1e-5)
    assert np.abs(shorter - same).max() > 1e-4


def test_case_and_line_breaks_change_nothing(encoder):
    one, other = encoder.encode_reports(
        ["No effusion. Normal heart.", "NO EFFUSION.\nnormal  heart."]
    )
    np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_the_text_policy_reads_findings_then_impression(encoder):
    report = phantom.Study(0, 0).report()
    assert encoder.text_policy.text(report) == f"{report.findings} {report.impression}"


def test_no_report_of_the_set_is_cut(encoder):
    pairs = phantom.load("512").pairs
    lengths = [len(re.findall(r"\w+|[.:,]", encoder.text_policy.text(p.report))) for p in pairs]
    assert max(lengths) <= encoder.text_policy.max_tokens


# --- preprocessing ---------------------------------------------------------------------


def letterboxed(image):
    """Compute the input slowly: repeat every pixel 112 times, then average whole blocks."""
    side = max(image.shape)
    square = np.zeros((side, side))
    top, left = (side - image.shape[0]) // 2, (side - image.shape[1]) // 2
    square[top : top + image.shape[0], left : left + image.shape[1]] = image
    columns = np.repeat(square, 112, axis=1).reshape(side, 112, side).mean(2)
    cells = np.repeat(columns, 112, axis=0).reshape(112, side, 112).mean(1)
    return (cells / 255 - 0.45) / 0.25


@settings(max_examples=25)
@given(height=st.integers(1, 300), width=st.integers(1, 300), seed=st.integers(0, 99))
def test_any_size_is_letterboxed_and_averaged_by_area(encoder, height, width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    pixels = encoder.preprocess([image]).numpy()
    assert pixels.shape == (1, 1, 112, 112)
    np.testing.assert_allclose(pixels[0, 0], letterboxed(image), atol=1e-6)


def test_a_strided_view_is_read_correctly(encoder):
    image = np.arange(60 * 80, dtype=np.uint8).reshape(60, 80)
    image.flags.writeable = False
    for view in (image, image[:, ::-1], image[::-2], image.T):
        assert (encoder.preprocess([view]) == encoder.preprocess([view.copy()])).all()


def test_mixed_sizes_keep_their_order_and_their_exact_pixels(encoder):
    rng = np.random.default_rng(0)
    shapes = [(224, 224), (300, 200), (224, 224), (60, 90), (300, 200), (1, 5)]
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    together = encoder.preprocess(images).numpy()
    for pixels, image in zip(together, images, strict=True):
        np.testing.assert_array_equal(pixels, encoder.preprocess([image]).numpy()[0])


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4)), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_invalid_images_are_refused(encoder, image):
    with pytest.raises(ValueError, match="image 1"):
        encoder.preprocess([np.zeros((4, 4), np.uint8), image])


# --- retrieval -------------------------------------------------------------------------


def hit_at_10(encoder, embedded, texts):
    matching = match(texts, [str(row) for row in range(len(texts))], "identical_text")
    scores = embedded @ encoder.encode_reports(matching.texts).numpy().T
    right = scores[np.arange(len(embedded)), matching.text_of_image]
    return ((scores > right[:, None]).sum(1) < 10).mean()


class Fresh(NamedTuple):
    """Evaluation set with an unused seed, and its retrieval result."""

    images: list
    texts: list
    embedded: np.ndarray
    clean: float


@pytest.fixture(scope="module")
def fresh(encoder):
    pairs = phantom.load("256:1")
    images = [pairs.decode(pair) for pair in pairs.pairs]
    texts = [encoder.text_policy.text(pair.report) for pair in pairs.pairs]
    embedded = embed(encoder, images)
    return Fresh(images, texts, embedded, hit_at_10(encoder, embedded, texts))


def test_a_fresh_seed_is_retrieved(fresh):
    assert fresh.clean > 0.85


def test_swapped_sides_in_the_text_ruin_retrieval(encoder, fresh):
    opposite = {"left": "right", "right": "left"}
    swapped = [
        re.sub(r"\b(left|right)\b", lambda found: opposite[found[0]], text.lower())
        for text in fresh.texts
    ]
    assert hit_at_10(encoder, fresh.embedded, swapped) < fresh.clean - 0.2


def test_mirrored_images_ruin_retrieval(encoder, fresh):
    mirrored = embed(encoder, [np.ascontiguousarray(image[:, ::-1]) for image in fresh.images])
    assert hit_at_10(encoder, mirrored, fresh.texts) < fresh.clean - 0.4


@pytest.mark.parametrize("fill", [0, 128])
def test_half_the_image_hidden_is_worse_than_clean_and_better_than_chance(encoder, fresh, fill):
    hidden = [image.copy() for image in fresh.images]
    for row, image in enumerate(hidden):
        first = (37 * row) % 113
        image[:, first : first + 112] = fill
    chance = 10 / len(set(fresh.texts))
    assert 3 * chance < hit_at_10(encoder, embed(encoder, hidden), fresh.texts) < fresh.clean - 0.1
