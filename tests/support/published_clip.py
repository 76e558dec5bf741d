"""Published format of OpenAI's CLIP: keys, shapes, files; and a reference in transformers.

The table is written out from the published model, not read from open_clip, and the reference
runs transformers' towers: nothing here shares code with what is tested.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from support.embeddings import unit

if TYPE_CHECKING:
    from torch import Tensor

START, END, CONTEXT, VOCABULARY = 49406, 49407, 77, 49408

TEXTS = [
    "No acute cardiopulmonary process.",
    "Mild cardiomegaly.\n Épanchement pleural gauche,\nœdème à 50 %, Mme Müller.",
    "",
    "There is a large right pneumothorax with mediastinal shift. " * 20,
    "heart " * 75 + "normal",
    "heart " * 74 + "normal",
]
"""Texts: short, accented with line breaks, empty, far above 77 tokens, one above, at 77."""

SIZES = [(97, 131), (131, 97), (224, 224), (512, 600), (2500, 2048)]


@dataclass(frozen=True)
class Shape:
    """Size of a CLIP model with a vision transformer."""

    width: int = 768
    layers: int = 12
    patch: int = 32
    side: int = 224
    text_width: int = 512
    text_layers: int = 12
    dim: int = 512


FULL = Shape()
SMALL = Shape(width=64, layers=2, text_width=64, text_layers=2, dim=32)


def picture(height: int, width: int) -> np.ndarray:
    """Create shades, noise and sharp edges, which every filter changes; uint8 ``[H, W]``."""
    rng = np.random.default_rng([height, width])
    rows, columns = np.mgrid[:height, :width]
    shades = 120 + 100 * np.sin(rows / 17) * np.cos(columns / 23)
    shades[height // 3 : height // 2, width // 4 : width // 2] = 255
    return np.clip(shades + rng.normal(0, 20, shades.shape), 0, 255).astype(np.uint8)


def pictures(sizes: list[tuple[int, int]] = SIZES) -> list[np.ndarray]:
    """Return one :func:`picture` per size."""
    return [picture(*size) for size in sizes]


def table(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Return keys and shapes of the published state dict; 302 for ViT-B/32."""
    width, text = shape.width, shape.text_width
    tokens = (shape.side // shape.patch) ** 2 + 1
    entries: dict[str, tuple[int, ...]] = {
        "positional_embedding": (CONTEXT, text),
        "text_projection": (text, shape.dim),
        "logit_scale": (),
        "visual.class_embedding": (width,),
        "visual.positional_embedding": (tokens, width),
        "visual.proj": (width, shape.dim),
        "visual.conv1.weight": (width, 3, shape.patch, shape.patch),
        "token_embedding.weight": (VOCABULARY, text),
    }
    norms = {"visual.ln_pre": width, "visual.ln_post": width, "ln_final": text}
    towers = [("visual.transformer", width, shape.layers), ("transformer", text, shape.text_layers)]
    for tower, size, layers in towers:
        for layer in range(layers):
            block = f"{tower}.resblocks.{layer}"
            norms |= {f"{block}.ln_1": size, f"{block}.ln_2": size}
            entries |= {
                f"{block}.attn.in_proj_weight": (3 * size, size),
                f"{block}.attn.in_proj_bias": (3 * size,),
                f"{block}.attn.out_proj.weight": (size, size),
                f"{block}.attn.out_proj.bias": (size,),
                f"{block}.mlp.c_fc.weight": (4 * size, size),
                f"{block}.mlp.c_fc.bias": (4 * size,),
                f"{block}.mlp.c_proj.weight": (size, 4 * size),
                f"{block}.mlp.c_proj.bias": (size,),
            }
    for norm, size in norms.items():
        entries |= {f"{norm}.weight": (size,), f"{norm}.bias": (size,)}
    return entries


def state(shape: Shape, seed: int = 0) -> dict[str, Tensor]:
    """Draw seeded float32 weights, scaled so that every layer has an effect."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    drawn = {}
    for key, size in table(shape).items():
        noise = torch.randn(size, generator=generator)
        if key == "logit_scale":
            drawn[key] = torch.tensor(4.6)
        elif "ln_" in key and key.endswith("weight"):
            drawn[key] = 1 + 0.1 * noise
        elif key.endswith(("bias", "embedding", "token_embedding.weight")):
            drawn[key] = 0.1 * noise
        else:
            inputs = size[0] if key.endswith("proj") or "text_proj" in key else noise[0].numel()
            drawn[key] = noise * inputs**-0.5
    return drawn


def archive(weights: dict[str, Tensor], path: Path) -> Path:
    """Write weights as OpenAI did: a TorchScript archive in fp16 with three more buffers."""
    import torch

    root = torch.nn.Module()
    buffers = {"input_resolution": 224, "context_length": CONTEXT, "vocab_size": VOCABULARY}
    for name, value in buffers.items():
        root.register_buffer(name, torch.tensor(value))
    for key, tensor in weights.items():
        module = root
        *parents, last = key.split(".")
        for parent in parents:
            if parent not in module._modules:
                module.add_module(parent, torch.nn.Module())
            module = module._modules[parent]
        half = tensor.half() if tensor.ndim else tensor
        module.register_parameter(last, torch.nn.Parameter(half, requires_grad=False))
    with warnings.catch_warnings():
        # The published file has this format, although it is deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.script(root).save(str(path))
    return path


def register(shape: Shape, folder: Path, name: str) -> str:
    """Register a model of another size in open_clip and return its name."""
    import open_clip

    config = {
        "embed_dim": shape.dim,
        "quick_gelu": True,
        "vision_cfg": {
            "image_size": shape.side,
            "layers": shape.layers,
            "width": shape.width,
            "patch_size": shape.patch,
        },
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": VOCABULARY,
            "width": shape.text_width,
            "heads": shape.text_width // 64,
            "layers": shape.text_layers,
        },
    }
    (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"{name}.json")
    return name


def tokens(texts: list[str], *, keep_end: bool = True) -> Tensor:
    """Return token ids ``[B, 77]``, with the limit and the end token applied by hand."""
    import torch
    from open_clip import SimpleTokenizer

    encode = SimpleTokenizer().encode
    ids = torch.zeros(len(texts), CONTEXT, dtype=torch.int64)
    for row, text in zip(ids, texts, strict=True):
        content = encode(text)[: CONTEXT - 2] if keep_end else encode(text)
        whole = [START, *content, END][:CONTEXT]
        row[: len(whole)] = torch.tensor(whole)
    return ids


class Reference:
    """Reference: the same weights in transformers' towers."""

    def __init__(self, weights: dict[str, Tensor], shape: Shape, act: str = "quick_gelu") -> None:
        from transformers import CLIPConfig, CLIPModel

        def tower(width: int, layers: int) -> dict[str, object]:
            sizes = {"hidden_size": width, "intermediate_size": 4 * width, "hidden_act": act}
            return sizes | {"num_hidden_layers": layers, "num_attention_heads": width // 64}

        vision = {"patch_size": shape.patch, "image_size": shape.side}
        text = {"eos_token_id": END, "bos_token_id": START, "vocab_size": VOCABULARY}
        self.model = CLIPModel(
            CLIPConfig(
                text_config=tower(shape.text_width, shape.text_layers) | text,
                vision_config=tower(shape.width, shape.layers) | vision,
                projection_dim=shape.dim,
            )
        )
        self.model.load_state_dict(_converted(weights), strict=True)
        self.model.eval()

    def images(self, pixels: Tensor) -> Tensor:
        """Embed pixels one at a time."""
        import torch

        with torch.no_grad():
            rows = [self.model.get_image_features(pixel_values=p[None]) for p in pixels]
        return unit(torch.cat([row.pooler_output for row in rows]))

    def texts(self, ids: Tensor) -> Tensor:
        """Embed token ids one at a time."""
        import torch

        with torch.no_grad():
            rows = [self.model.get_text_features(input_ids=i[None]) for i in ids]
        return unit(torch.cat([row.pooler_output for row in rows]))


def _converted(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the published weights under transformers' names."""
    fixed = {
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "logit_scale": "logit_scale",
    }
    parts = {
        "visual.transformer.resblocks": "vision_model.encoder.layers",
        "transformer.resblocks": "text_model.encoder.layers",
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "visual.ln_post": "vision_model.post_layernorm",
        "ln_final": "text_model.final_layer_norm",
        ".ln_1.": ".layer_norm1.",
        ".ln_2.": ".layer_norm2.",
        ".mlp.c_fc.": ".mlp.fc1.",
        ".mlp.c_proj.": ".mlp.fc2.",
        ".attn.": ".self_attn.",
    }
    out = {
        "visual_projection.weight": weights["visual.proj"].T,
        "text_projection.weight": weights["text_projection"].T,
    }
    for key, tensor in weights.items():
        if key in {"visual.proj", "text_projection"}:
            continue
        name = fixed.get(key, key)
        for old, new in parts.items() if key not in fixed else ():
            name = name.replace(old, new)
        if ".in_proj_" in name:
            for letter, third in zip("qkv", tensor.chunk(3), strict=True):
                out[name.replace("in_proj_", f"{letter}_proj.")] = third
        else:
            out[name] = tensor
    return out
