"""Small MedCLIP and CXR-CLIP from files in the published format."""

from __future__ import annotations

from importlib import import_module

from support import published
from support.published import SMALL
from support.reference_towers import Case, shapes


def build(model, path, vocabulary, variant, **choices):
    """Load a small checkpoint of ``model``, the name of its module."""
    from robustness.models import _checkpoint

    publication = import_module(f"robustness.models.{model}").PUBLICATION
    tokenizer = publication.tokenizer(vocabulary, shapes(SMALL))
    return publication.build(_checkpoint.read(path), tokenizer, shapes(SMALL), variant, **choices)


def small_case(cases, variant, folder):
    """Create the small model of ``medclip_cases`` or ``cxr_clip_cases``, and its vocabulary."""
    vocabulary = published.write_vocabulary(folder / "vocab.txt")
    path, state, towers = cases.prepare(variant, SMALL, folder)
    encoder = build(cases.MODEL, path, vocabulary, variant)
    return Case(encoder, variant, path, state, vocabulary, towers)
