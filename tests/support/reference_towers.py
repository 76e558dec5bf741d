"""Reference image and text towers, using timm, transformers and tokenizers directly.

timm's Swin and ResNet are written apart from those of transformers and torchvision, so that a
wrong rename or a wrong layer cannot be wrong in both.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from robustness.encoder import DualEncoder
from support.embeddings import TOLERANCE, embed

TEXTS = (
    "No acute disease.",
    "",
    "HEART size normal. Café, naïve façade; no pneumothorax.",
    "The heart is mildly enlarged, left effusion (3/4). " * 60,
    "x",
    "Left effusion.",
)
"""Texts: short, empty, accented, capital, and much longer than the limits of both models."""

SHAPES = ((97, 131), (131, 97), (224, 224), (225, 301), (640, 512), (2500, 2048))
"""Heights and widths of the test images."""


class Case(NamedTuple):
    """Model in its published format, and reference towers with the same weights."""

    encoder: DualEncoder
    variant: str
    path: Path
    state: dict
    vocabulary: Path
    towers: tuple


def radiographs(shapes=SHAPES):
    """Create smooth grey images with an edge and some noise."""
    import numpy as np

    generator = np.random.default_rng(3)
    pictures = []
    for height, width in shapes:
        coarse = Image.fromarray(generator.integers(0, 256, (9, 7), dtype=np.uint8))
        picture = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
        picture = picture + generator.integers(-20, 21, (height, width))
        pictures.append(picture.clip(0, 255).astype(np.uint8))
    return pictures


def swin_tokens(state, prefix, size):
    """Return a function from pixels to Swin's 49 normalised tokens, computed by timm."""
    import torch
    from timm.models.swin_transformer import SwinTransformer

    model = SwinTransformer(
        img_size=224,
        embed_dim=size.width,
        depths=size.depths,
        num_heads=size.swin_heads,
        window_size=7,
        num_classes=0,
        global_pool="",
    )
    model.load_state_dict(_timm_keys(_under(state, prefix)), strict=True)
    model.eval()
    return torch.inference_mode()(lambda pixels: model.forward_features(pixels).flatten(1, 2))


_TIMM = (
    (r"^embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"^embeddings\.norm", "patch_embed.norm"),
    (r"^layernorm", "norm"),
    (r"^encoder\.", ""),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
    (r"attention\.output\.dense", "attn.proj"),
    (r"attention\.self\.relative", "attn.relative"),
    (r"intermediate\.dense", "mlp.fc1"),
    (r"output\.dense", "mlp.fc2"),
)


def _timm_keys(state):
    import torch

    renamed = {}
    for key, tensor in state.items():
        new, value = key, tensor
        if ".self.query." in key:
            value = torch.cat([state[key.replace("query", p)] for p in ("query", "key", "value")])
            new = key.replace("attention.self.query", "attn.qkv")
        elif ".self.key." in key or ".self.value." in key or key.endswith("position_index"):
            continue
        elif "downsample" in key:
            # In timm, patch merging belongs to the next stage.
            stage = int(key.split(".")[2])
            new = key.replace(f"layers.{stage}", f"layers.{stage + 1}")
        for pattern, replacement in _TIMM:
            new = re.sub(pattern, replacement, new)
        renamed[new] = value
    return renamed


def resnet_pool(state, prefix):
    """Return a function from pixels to ResNet-50's average pool ``[B, 2048]``, by timm."""
    import timm
    import torch

    model = timm.create_model("resnet50", num_classes=0)
    own = {key: value for key, value in _under(state, prefix).items() if key != "fc.weight"}
    model.load_state_dict(own, strict=True)
    model.eval()
    return torch.inference_mode()(model)


def bert_states(state, prefix, size):
    """Return a function from ids ``[1, T]`` (no padding) to all hidden states, in float64."""
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=size.feed_forward,
        attn_implementation="eager",
    )
    model = BertModel(config)
    own = _under(state, prefix)
    own.pop("embeddings.position_ids", None)
    model.load_state_dict(own, strict=True)
    model.double().eval()
    return torch.inference_mode()(lambda ids: model(ids, output_hidden_states=True).hidden_states)


def token_ids(vocabulary, text, limit):
    """Return ids ``[1, T]`` by the tokenizers library, truncated by hand with [SEP] kept."""
    import torch
    from tokenizers.implementations import BertWordPieceTokenizer

    tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
    ids = tokenizer.encode(text).ids
    if len(ids) > limit:
        ids = [*ids[: limit - 1], ids[-1]]
    return torch.tensor([ids])


def unit(features):
    """Return rows of unit norm, as a float64 array."""
    import numpy as np

    rows = np.asarray(features, dtype=np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def difference(first, second):
    """Return the largest absolute difference of two arrays."""
    import numpy as np

    return float(np.abs(np.asarray(first) - np.asarray(second)).max())


def check_images(case, reference, shapes):
    """Check images of these shapes against a reference; return the largest difference.

    Args:
        case: The model.
        reference: A function from the case and an image to a row.
        shapes: Heights and widths.
    """
    images = radiographs(shapes)
    expected = [reference(case, image) for image in images]
    return _check(lambda some: embed(case.encoder, some), images, expected)


def check_texts(case, reference):
    """Check :data:`TEXTS` against a reference; return the largest difference."""
    return _check(case.encoder.encode_reports, TEXTS, [reference(case, text) for text in TEXTS])


def _check(encode, inputs, expected):
    import numpy as np

    alone = np.concatenate([encode([one]) for one in inputs])
    together = encode(inputs[::-1]).flip(0)
    assert difference(together, alone) < 1e-5
    worst = max(difference(rows, np.concatenate(expected)) for rows in (alone, together))
    assert worst < TOLERANCE
    return worst


def shapes(size):
    """Return the configurations of a checkpoint's towers."""
    from transformers import BertConfig, SwinConfig

    from robustness.models._clinical import Shapes

    return Shapes(
        BertConfig(
            vocab_size=size.vocabulary,
            hidden_size=size.hidden,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            intermediate_size=size.feed_forward,
        ),
        SwinConfig(embed_dim=size.width, depths=list(size.depths), num_heads=list(size.swin_heads)),
    )


def _under(state, prefix):
    return {
        key.removeprefix(prefix): tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in state.items()
        if key.startswith(prefix)
    }
