"""Embeddings of the models under test, and their comparison with a reference."""

from __future__ import annotations

TOLERANCE = 5e-5
"""Maximum absolute difference of an embedding component from the reference."""

SHOWS = 1e-3
"""A preprocessing or loading mistake changes some component by more than this."""


def embed(encoder, images):
    return encoder.encode_images(encoder.preprocess(images))


def unit(rows):
    return rows / rows.norm(dim=1, keepdim=True)


def distance(ours, theirs):
    """Return the largest absolute difference of two tensors."""
    return (ours - theirs).abs().max().item()


def check_contract(encoder, images, texts):
    """Check the encoder contract: shapes, norms, independence from the batch."""
    import torch

    for embed_all, inputs in (
        (lambda some: embed(encoder, some), images),
        (encoder.encode_reports, texts),
    ):
        rows = embed_all(inputs)
        assert rows.shape == (len(inputs), encoder.embedding_dim)
        assert rows.dtype == torch.float32
        assert rows.isfinite().all()
        assert not rows.requires_grad
        assert distance(rows.norm(dim=1), torch.ones(len(rows))) < 1e-5
        assert distance(torch.cat([embed_all([one]) for one in inputs]), rows) < 1e-5
        assert distance(embed_all(inputs[::-1]).flip(0), rows) < 1e-5
        assert embed_all([]).shape == (0, encoder.embedding_dim)
    assert len(encoder.details["weights_sha256"]) == 64
