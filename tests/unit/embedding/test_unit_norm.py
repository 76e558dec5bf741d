"""Tests of the unit-norm check, which refuses other norms at the first batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from robustness.embedding import embed_images, embed_reports
from robustness.encoder import DualEncoder, TextPolicy
from robustness.errors import EmbeddingError

IMAGES = [np.full((8, 8), grey, np.uint8) for grey in (10, 50, 90, 130, 200)]
TEXTS = ["a", "bb", "ccc", "dddd", "eeeee"]
DIM = 24


def encoder(change, *, of=("images", "reports"), score=None):
    """Return an encoder whose rows of unit norm are changed before they are returned."""

    class Rows(DualEncoder):
        fingerprint = "rows"
        text_policy = TextPolicy(("findings",), 99, "none")
        embedding_dim = DIM
        device = "cpu"
        details = {}  # noqa: RUF012

        def preprocess(self, images):
            return torch.tensor([[float(image[0, 0])] for image in images])

        def encode_images(self, pixels):
            rows = F.normalize(torch.sin(pixels * torch.arange(1, DIM + 1)), dim=-1)
            return change(rows) if "images" in of else rows

        def encode_reports(self, texts):
            sizes = torch.tensor([[float(len(text))] for text in texts])
            rows = F.normalize(torch.cos(sizes * torch.arange(1, DIM + 1)), dim=-1)
            return change(rows) if "reports" in of else rows

    return type("Rows", (Rows,), {"score": score} if score else {})()


def last(factor):
    """Return a function that scales the last row only."""

    def change(rows):
        rows = rows.clone()
        rows[-1] *= factor
        return rows

    return change


@pytest.mark.parametrize("factor", [0.5, 1 - 2e-4, 1 + 2e-4, 3.0, 1e30])
@pytest.mark.parametrize("side", ["images", "reports"])
def test_a_row_of_another_norm_is_reported_with_the_remedy(side, factor):
    made = encoder(last(factor), of=(side,))
    embed, items = (embed_images, IMAGES) if side == "images" else (embed_reports, TEXTS)
    with pytest.raises(EmbeddingError) as caught:
        embed(made, items, batch_size=2)
    norm = "inf" if factor > 1e9 else f"{factor:.4f}".rstrip("0").rstrip(".")
    assert str(caught.value) == (
        f"Rows embeds {side} with norm {norm}, but scores by cosine, which needs norm 1"
        f" (within 0.0001); normalise the rows in encode_{side}"
    )
    assert caught.value.code == "embedding_malformed"
    other, rest = (embed_reports, TEXTS) if side == "images" else (embed_images, IMAGES)
    assert other(made, rest).shape == (5, DIM)


@pytest.mark.parametrize("factor", [1 - 9e-5, 1, 1 + 9e-5])
def test_float_noise_is_tolerated_and_kept(factor):
    made = encoder(lambda rows: rows * factor)
    assert np.linalg.norm(embed_images(made, IMAGES), axis=1) == pytest.approx(factor, abs=1e-6)
    assert np.linalg.norm(embed_reports(made, TEXTS), axis=1) == pytest.approx(factor, abs=1e-6)


def test_rows_without_unit_norm_pass_if_the_model_has_its_own_score():
    made = encoder(last(7.0), score=lambda self, images, reports: images @ reports.T)
    assert np.linalg.norm(embed_images(made, IMAGES), axis=1).max() == pytest.approx(7)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_rows_are_left_to_another_check(value):
    def spoilt(rows):
        rows = rows.clone()
        rows[-1, 3] = value
        return rows

    found = embed_images(encoder(spoilt), IMAGES)
    assert np.isfinite(found).all(axis=1).tolist() == [True] * 4 + [False]
    with pytest.raises(EmbeddingError, match="images with norm 2, but"):
        embed_images(encoder(lambda rows: torch.cat([rows[:1] * 2, spoilt(rows)[1:]])), IMAGES)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_in_16_bits_rows_normalised_in_16_bits_pass(precision):
    """Rows normalised in 16 bits pass for every divisor and order, and get unit norm."""
    dtype = getattr(torch, precision)
    ways = [
        lambda rows: F.normalize(rows.double(), dim=-1),
        lambda rows: F.normalize(rows.to(dtype), dim=-1),
        lambda rows: rows.to(dtype) / rows.to(dtype).norm(dim=-1, keepdim=True),
        lambda rows: rows.to(dtype) * rows.to(dtype).square().sum(-1, keepdim=True).rsqrt(),
    ]
    for way in ways:
        for scale in np.linspace(0.5, 20, 40):
            made = encoder(lambda rows, way=way, scale=scale: way(rows * float(scale)))
            found = embed_images(made, IMAGES, precision=precision)
            assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_in_16_bits_too_rows_that_are_not_normalised_are_named(precision):
    """Only rounding errors of rows that the model normalised are corrected."""
    eps = torch.finfo(getattr(torch, precision)).eps
    for factor in (1 - 3 * eps, 1 + 3 * eps, 20.0):
        with pytest.raises(EmbeddingError, match=f"within {2 * eps:.2g}"):
            embed_images(encoder(lambda rows, f=factor: rows * f), IMAGES, precision=precision)


def test_a_row_of_zeros_passes():
    """A model without biases gives zeros for a black image; its cosines are 0."""
    for precision in ("float32", "bfloat16"):
        norms = np.linalg.norm(
            embed_images(encoder(last(0.0)), IMAGES, precision=precision), axis=1
        )
        assert norms == pytest.approx([1, 1, 1, 1, 0], abs=1e-6)


def test_an_empty_batch_gives_no_rows():
    assert embed_images(encoder(last(3.0)), []).shape == (0, DIM)
    assert embed_reports(encoder(last(3.0)), []).shape == (0, DIM)
