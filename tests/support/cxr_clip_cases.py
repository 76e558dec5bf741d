"""Small CXR-CLIP in the published format, with reference towers of the same weights."""

from __future__ import annotations

from support import published, reference_towers
from support.reference_towers import token_ids, unit

MODEL = "cxr_clip"
LOADER = "robustness.models.cxr_clip:load"


def write(path, state):
    return published.cxr_clip_tar(path, state)


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


HALF = ((0.5,) * 3, (0.5,) * 3)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def reference_pixels(image, statistics, interpolation=2):
    """Apply the published preprocessing with torchvision on Pillow: ``[1, 3, 224, 224]``."""
    from PIL import Image
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode

    mode = {2: InterpolationMode.BILINEAR, 3: InterpolationMode.BICUBIC}[interpolation]
    pipeline = transforms.Compose(
        [
            transforms.Resize(224, interpolation=mode),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(*statistics),
        ]
    )
    return pipeline(Image.fromarray(image).convert("RGB"))[None]


def project(case, tower, features, biased=True):
    head = f"{tower}_projection.projection"
    weight, bias = case.state[f"{head}.weight"].double(), case.state[f"{head}.bias"].double()
    return unit(features.double() @ weight.T + (bias if biased else 0))


def reference_image(case, image, feature=None, biased=True, statistics=None, **options):
    statistics = statistics or {"swin": HALF, "resnet": IMAGENET}[case.variant]
    features = case.towers[0](reference_pixels(image, statistics, **options))
    if case.variant == "swin":
        features = features[:, 0] if feature is None else feature(features)
    return project(case, "image", features, biased)


def reference_text(case, text, limit=256, position=-1, biased=True):
    last = case.towers[1](token_ids(case.vocabulary, text, limit))[-1]
    return project(case, "text", last[:, position], biased)
