"""MedCLIP of a small size in its published form, with reference towers of the same weights."""

from __future__ import annotations

from typing import NamedTuple

import published
import reference_towers
from published import SMALL
from reference_towers import shapes

LOADER = "models.medclip:load"


class Case(NamedTuple):
    encoder: object
    variant: str
    path: object
    state: dict
    size: object
    vocabulary: object
    towers: tuple


def prepare(variant, size, folder, vocabulary):
    """A checkpoint in the published form, and the reference towers with the same weights."""
    state = published.draw(published.medclip(variant, size), seed=11)
    path = published.medclip_zip(folder / f"medclip-{variant}.zip", state)
    prefix = "vision_model.model."
    image = (
        reference_towers.resnet_pool(state, prefix)
        if variant == "resnet"
        else reference_towers.swin_tokens(state, prefix, size)
    )
    text = reference_towers.bert_states(state, "text_model.model.", size)
    return path, state, (image, text)


def build(path, vocabulary, size, variant, **options):
    from models import _bert, _checkpoint, medclip

    words = _bert.load_tokenizer(vocabulary, size.vocabulary, medclip.MAX_TOKENS)
    checkpoint = _checkpoint.read(path)
    return medclip.build(checkpoint, words, shapes(size), variant, **options)


def small_case(variant, folder):
    """The small size, with a vocabulary of its own beside it."""
    vocabulary = published.write_vocabulary(folder / "vocab.txt")
    path, state, towers = prepare(variant, SMALL, folder, vocabulary)
    encoder = build(path, vocabulary, SMALL, variant)
    return Case(encoder, variant, path, state, SMALL, vocabulary, towers)
