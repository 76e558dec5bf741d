"""Small CLIP in the published format, with a reference model of the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from robustness.encoder import DualEncoder, load
from support import published_clip as published
from support.embeddings import TOLERANCE, distance, embed
from support.published_clip import SMALL, TEXTS

ARCHITECTURE = "small-clip-quickgelu"
"""Name of the small architecture in open_clip."""


class Case(NamedTuple):
    encoder: DualEncoder
    weights: dict
    checkpoint: Path
    reference: published.Reference


def small_case(loader, path, seed=0):
    """Load the small model from a plain state dict written to ``path``."""
    weights = published.state(SMALL, seed)
    checkpoint = save(weights, path)
    published.register(SMALL, path.parent, ARCHITECTURE)
    encoder = load(loader, weights=checkpoint, architecture=ARCHITECTURE)
    return Case(encoder, weights, checkpoint, published.Reference(weights, SMALL))


def save(weights, path):
    """Write a plain state dict and return its path."""
    import torch

    torch.save(weights, path)
    return path


def check_images(encoder, reference, images, pixels):
    """Check images against the reference, alone and in a batch."""
    import torch

    expected = reference.images(pixels)
    assert distance(embed(encoder, images), expected) < TOLERANCE
    alone = torch.cat([embed(encoder, [image]) for image in images])
    assert distance(alone, expected) < TOLERANCE


def check_texts(encoder, reference):
    """Check texts against the reference, alone and in a batch."""
    import torch

    expected = reference.texts(published.tokens(TEXTS))
    assert distance(encoder.encode_reports(TEXTS), expected) < TOLERANCE
    alone = torch.cat([encoder.encode_reports([text]) for text in TEXTS])
    assert distance(alone, expected) < TOLERANCE
