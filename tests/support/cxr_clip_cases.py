"""Small CXR-CLIP in the published format, with reference towers of the same weights."""

from __future__ import annotations

from support import published, reference_towers
from support.published import SMALL
from support.reference_towers import Case, shapes

LOADER = "robustness.models.cxr_clip:load"


def prepare(variant, size, folder):
    """Return a checkpoint in the published format, and reference towers with its weights."""
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
    from robustness.models import _checkpoint
    from robustness.models.cxr_clip import PUBLICATION

    tokenizer = PUBLICATION.tokenizer(vocabulary, shapes(SMALL))
    checkpoint = _checkpoint.read(path)
    return PUBLICATION.build(checkpoint, tokenizer, shapes(SMALL), variant)


def small_case(variant, folder):
    """Create the small model and its vocabulary."""
    vocabulary = published.write_vocabulary(folder / "vocab.txt")
    path, state, towers = prepare(variant, SMALL, folder)
    return Case(build(path, vocabulary, variant), variant, path, state, vocabulary, towers)
