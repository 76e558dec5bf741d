"""Small MedCLIP in the published format, with reference towers of the same weights."""

from __future__ import annotations

from support import published, reference_towers
from support.published import SMALL
from support.reference_towers import Case, shapes

LOADER = "robustness.models.medclip:load"


def prepare(variant, size, folder):
    """Return a checkpoint in the published format, and reference towers with its weights."""
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


def build(path, vocabulary, variant, padding="masked"):
    from robustness.models import _checkpoint
    from robustness.models.medclip import PUBLICATION

    tokenizer = PUBLICATION.tokenizer(vocabulary, shapes(SMALL))
    checkpoint = _checkpoint.read(path)
    return PUBLICATION.build(checkpoint, tokenizer, shapes(SMALL), variant, padding=padding)


def small_case(variant, folder):
    """Create the small model and its vocabulary."""
    vocabulary = published.write_vocabulary(folder / "vocab.txt")
    path, state, towers = prepare(variant, SMALL, folder)
    return Case(build(path, vocabulary, variant), variant, path, state, vocabulary, towers)
