"""Swin-tiny and ResNet-50, the image towers of MedCLIP and CXR-CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torchvision.models import ResNet, resnet50  # type: ignore[import-untyped]
from transformers import BertConfig, SwinConfig, SwinModel

from robustness.models._bert import bert_config
from robustness.models._checkpoint import unusable

VARIANTS = ("swin", "resnet")
"""Published image towers of both models."""

PIXELS = 224
"""Height and width of the input of both image towers."""

RESNET_DIM = 2048
"""Feature dimension of ResNet-50."""

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
"""Renames from the Swin keys of transformers 4, as published, to those of transformers 5.

Anchored at ``blocks``: BERT's keys have the same endings and must not change.
"""


@dataclass(frozen=True)
class Shapes:
    """Configurations of both towers; tests use small ones.

    Attributes:
        bert: The text tower.
        swin: The image tower, if it is a Swin.
    """

    bert: BertConfig
    swin: SwinConfig


def published_shapes() -> Shapes:
    """Return the configurations of the published MedCLIP and CXR-CLIP."""
    return Shapes(bert_config(), swin_config())


def swin_config() -> SwinConfig:
    """Return the configuration of swin-tiny-patch4-window7-224."""
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
    """Create a Swin."""
    return SwinModel(config, add_pooling_layer=True)


def build_resnet(projection: nn.Module) -> ResNet:
    """Create a ResNet-50 with ``projection`` in place of its classifier."""
    resnet = resnet50(weights=None)
    resnet.fc = projection
    return resnet


def detect_variant(
    state: Mapping[str, Tensor],
    prefixes: Mapping[str, str],
    path: Path,
    required: str | None,
) -> str:
    """Return the image tower of a checkpoint, detected from its keys.

    Args:
        state: Tensors by key.
        prefixes: By variant, the prefix that only its keys have.
        path: The checkpoint, for error messages.
        required: The required variant; None for any.

    Raises:
        WeightsError: The checkpoint has neither tower or both, or not the required one.
    """
    detected = [
        variant
        for variant, prefix in prefixes.items()
        if any(key.startswith(prefix) for key in state)
    ]
    expected = " or ".join(f"{prefix}* ({variant})" for variant, prefix in prefixes.items())
    if not detected:
        raise unusable(
            path, f"it is of another model: no key is {expected}; it has {sorted(state)[:3]}"
        )
    if len(detected) > 1:
        raise unusable(path, f"it has two image towers, {expected}")
    if required not in {None, detected[0]}:
        raise unusable(
            path,
            f"its image tower is {detected[0]}, not {required} as requested; name the {required}"
            " file, or leave variant out",
        )
    return detected[0]
