"""Small MedCLIP in the published format, with reference towers of the same weights."""

from __future__ import annotations

from support import published, reference_towers
from support.reference_towers import token_ids, unit

MODEL = "medclip"
LOADER = "robustness.models.medclip:load"


def write(path, state):
    return published.medclip_zip(path, state)


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


def reference_pixels(image, enlarge=False):
    """Apply the published preprocessing with Pillow and numpy: ``[1, 3, 224, 224]``."""
    import numpy as np
    import torch
    from PIL import Image

    picture = Image.fromarray(image)
    width, height = picture.size
    side = max(width, height) if enlarge else max(224, width, height)
    square = Image.new("L", (side, side), 0)
    square.paste(picture, (int((side - width) / 2), int((side - height) / 2)))
    grey = np.asarray(square.resize((224, 224), Image.Resampling.BICUBIC), dtype=np.float64)
    values = (grey / 255 - 0.5862785803043838) / 0.27950088968644304
    return torch.tensor(np.stack([values] * 3)[None], dtype=torch.float32)


def reference_image(case, image, feature=None, **options):
    tower = case.towers[0](reference_pixels(image, **options))
    if case.variant == "resnet":
        return unit(tower @ case.state["vision_model.model.fc.weight"].T)
    pooled = tower.mean(dim=1) if feature is None else feature(tower)
    return unit(pooled @ case.state["vision_model.projection_head.weight"].T)


def reference_text(case, text, layers=(1, 2, -1), tokens=slice(None), limit=77):
    states = case.towers[1](token_ids(case.vocabulary, text, limit))
    mean = sum(states[layer][:, tokens].mean(dim=1) for layer in layers) / len(layers)
    return unit(mean @ case.state["text_model.projection_head.weight"].double().T)
