"""Precision of forward passes: embeddings, and errors."""

from __future__ import annotations

import warnings
from contextlib import contextmanager

import numpy as np
import pytest

from robustness.errors import EmbeddingError, UsageError

TEXTS = ["Clear lungs.", "", "Large effusion."]


@pytest.fixture(scope="module")
def encoder():
    from robustness.models.phantom import load

    return load()


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (90 + 7 * i, 120), np.uint8) for i in range(5)]


def both(encoder, images, **settings):
    from robustness.embedding import embed_images, embed_reports

    return embed_images(encoder, images, **settings), embed_reports(encoder, TEXTS, **settings)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_embeddings_of_16_bits_are_float32_of_unit_norm_close_to_float32_s(
    encoder, images, precision
):
    for low, full in zip(
        both(encoder, images, precision=precision), both(encoder, images), strict=True
    ):
        assert low.dtype == np.float32
        assert not np.array_equal(low, full), "the precision is used"
        assert np.abs(low - full).max() < 0.05
        assert np.abs(np.linalg.norm(low.astype(float), axis=1) - 1).max() < 1e-6


def test_float32_embeddings_are_the_model_s_own(encoder, images):
    found = both(encoder, images, precision="float32")
    assert np.array_equal(found[0], encoder.encode_images(encoder.preprocess(images)).numpy())
    assert np.array_equal(found[1], encoder.encode_reports(TEXTS).numpy())


def test_a_model_with_its_own_score_keeps_its_norms():
    import torch

    from robustness.embedding._precision import restored
    from robustness.encoder import DualEncoder

    class Scorer(DualEncoder):
        score = preprocess = encode_images = encode_reports = lambda self, *_: None

    rows = restored(Scorer(), torch.tensor([[3.0, 4.0]], dtype=torch.bfloat16), "bfloat16")
    assert rows.tolist() == [[3, 4]]
    assert rows.dtype == torch.float32


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda rows: None, "a NoneType"),
        (lambda rows: (rows, rows), "a tuple"),
        (lambda rows: rows.float().numpy(), "a ndarray"),
    ],
)
def test_the_error_of_a_wrong_type_names_it(encoder, images, monkeypatch, precision, change, kind):
    for side, n in (("images", 5), ("reports", 3)):
        own = getattr(type(encoder), f"encode_{side}")
        with monkeypatch.context() as patch:
            wrong = lambda self, items, own=own: change(own(self, items))  # noqa: E731
            patch.setattr(type(encoder), f"encode_{side}", wrong)
            message = f"embedded {n} {side} as {kind}; the contract is torch.float32 of shape"
            with pytest.raises(EmbeddingError, match=message) as caught:
                both(encoder, images, precision=precision)
            assert str(caught.value).endswith(f"of shape [{n}, {encoder.embedding_dim}]")


def test_the_message_has_the_singular_of_one_image(encoder, images, monkeypatch):
    from robustness.embedding import embed_images

    monkeypatch.setattr(type(encoder), "encode_images", lambda self, pixels: pixels.flatten(1))
    with pytest.raises(EmbeddingError, match=r"embedded 1 image as torch\.float32 of shape \[1, "):
        embed_images(encoder, images[:1])


def test_the_error_of_an_invalid_precision_names_it(encoder, images):
    message = "precision 'half' is not one of float32, bfloat16, float16"
    with pytest.raises(UsageError, match=message):
        both(encoder, images, precision="half")


@pytest.mark.parametrize("how", ["warns", "raises", "does not"])
def test_the_error_of_an_unsupported_precision_names_the_device(monkeypatch, how):
    import torch

    from robustness.embedding import check_precision

    @contextmanager
    def autocast(kind, dtype):
        if how == "raises":
            raise RuntimeError("no such thing here\nwith more lines")
        if how == "warns":
            warnings.warn("disabling autocast", UserWarning, stacklevel=2)
        yield

    monkeypatch.setattr(torch, "autocast", autocast)
    expected = "precision 'float16' is not available on device 'cpu': "
    with pytest.raises(UsageError, match=expected) as caught:
        check_precision("float16", "cpu")
    assert "\n" not in str(caught.value)
    assert "with more lines" not in str(caught.value)
    check_precision("float32", "cpu")
