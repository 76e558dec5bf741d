"""Swin-tiny and ResNet-50, the image towers of MedCLIP and of CXR-CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torchvision.models import ResNet, resnet50  # type: ignore[import-untyped]
from transformers import BertConfig, SwinConfig, SwinModel

from models._bert import bert_config
from models._checkpoint import unusable

VARIANTS = ("swin", "resnet")
"""The image towers that both models were published with."""

PIXELS = 224
"""Height and width of either tower's input."""

RESNET_DIM = 2048
"""The length of ResNet-50's feature."""

SWIN_RENAMES = (
    (r"(\.blocks\.\d+)\.attention\.self\.query\.", r"\1.attention.q_proj."),
    (r"(\.blocks\.\d+)\.attention\.self\.key\.", r"\1.attention.k_proj."),
    (r"(\.blocks\.\d+)\.attention\.self\.value\.", r"\1.attention.v_proj."),
    (
        r"(\.blocks\.\d+)\.attention\.self\.relative_position_bias_table$",
        r"\1.attention.relative_position_bias.relative_position_bias_table",
    ),
    (r"(\.blocks\.\d+)\.attention\.output\.dense\.", r"\1.attention.o_proj."),
    (r"(\.blocks\.\d+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
    (r"(\.blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
)
"""From the keys of transformers 4, which the published files have, to those of transformers 5.

Anchored at ``blocks``: BERT's keys have the same endings and keep them.
"""

SWIN_TOLERATED = ("relative_position_index",)
"""Keys of a Swin checkpoint that hold no weights."""


@dataclass(frozen=True)
class Shapes:
    """The shapes of a model's towers; tests build small ones.

    Attributes:
        bert: The text tower's.
        swin: The image tower's, where that is a Swin.
    """

    bert: BertConfig
    swin: SwinConfig


def published_shapes() -> Shapes:
    """The shapes that MedCLIP and CXR-CLIP share."""
    return Shapes(bert_config(), swin_config())


def swin_config() -> SwinConfig:
    """The shape of swin-tiny-patch4-window7-224."""
    return SwinConfig(
        image_size=PIXELS,
        patch_size=4,
        num_channels=3,
        embed_dim=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        layer_norm_eps=1e-5,
    )


def build_swin(config: SwinConfig) -> SwinModel:
    """The Swin tower."""
    return SwinModel(config, add_pooling_layer=True)


def build_resnet(projection: nn.Module) -> ResNet:
    """ResNet-50 up to its global average pool, then ``projection`` in place of the classes."""
    resnet = resnet50(weights=None)
    resnet.fc = projection
    return resnet


def recognise(
    state: Mapping[str, Tensor],
    prefixes: Mapping[str, str],
    path: Path,
    asked: str | None,
) -> str:
    """Which image tower a checkpoint holds, by its keys.

    Args:
        state: Tensors by key.
        prefixes: By variant, what its keys alone start with.
        path: The checkpoint, for errors.
        asked: The variant that was asked for; None for whichever it is.

    Raises:
        WeightsError: It holds neither or both, or not the one that was asked for.
    """
    found = [
        variant
        for variant, prefix in prefixes.items()
        if any(key.startswith(prefix) for key in state)
    ]
    expected = " or ".join(f"{prefix}* ({variant})" for variant, prefix in prefixes.items())
    if not found:
        raise unusable(
            path, f"it is of another model: no key is {expected}; there are {sorted(state)[:3]}"
        )
    if len(found) > 1:
        raise unusable(path, f"it holds two image towers, {expected}")
    if asked not in {None, found[0]}:
        raise unusable(
            path,
            f"its image tower is {found[0]}, not {asked} as asked; name the {asked} file, or"
            " leave variant out",
        )
    return found[0]
