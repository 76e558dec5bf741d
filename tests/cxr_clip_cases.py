"""CXR-CLIP of a small size in its published form, with reference towers of the same weights."""

from __future__ import annotations

import published
import reference_towers
from published import SMALL
from reference_towers import Case, shapes

LOADER = "models.cxr_clip:load"


def prepare(variant, size, folder):
    """A checkpoint in the published form, and the reference towers with the same weights."""
    state = published.draw(published.cxr_clip(variant, size), seed=12)
    path = published.cxr_clip_tar(folder / f"{variant}.tar", state)
    image = (
        reference_towers.resnet_pool(state, "image_encoder.resnet.")
        if variant == "resnet"
        else reference_towers.swin_tokens(state, "image_encoder.image_encoder.", size)
    )
    text = reference_towers.bert_states(state, "text_encoder.text_encoder.", size)
    return path, state, (image, text)


def build(path, vocabulary, variant):
    from models import _bert, _checkpoint, cxr_clip

    words = _bert.load_tokenizer(vocabulary, SMALL.vocabulary, cxr_clip.MAX_TOKENS)
    return cxr_clip.build(_checkpoint.read(path), words, shapes(SMALL), variant)


def small_case(variant, folder):
    """The small size, with a vocabulary of its own beside it."""
    vocabulary = published.write_vocabulary(folder / "vocab.txt")
    path, state, towers = prepare(variant, SMALL, folder)
    return Case(build(path, vocabulary, variant), variant, path, state, vocabulary, towers)
