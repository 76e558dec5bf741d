"""Loading of MedCLIP and CXR-CLIP: a Swin or ResNet-50, and Bio_ClinicalBERT."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import ResNet, resnet50  # type: ignore[import-untyped]
from transformers import BertConfig, BertModel, SwinConfig, SwinModel

from robustness.encoder import TextPolicy
from robustness.errors import UsageError
from robustness.models import _bert, _checkpoint
from robustness.models._checkpoint import Checkpoint
from robustness.models._encoder import TwoTowers
from robustness.models._preprocessing import Preprocessing

VARIANTS = ("swin", "resnet")
"""Published image towers of both models."""

PIXELS = 224
"""Height and width of the input of both image towers."""

EMBEDDING_DIM = 512
"""Embedding dimension of both models."""

RESNET_DIM = 2048
"""Feature dimension of ResNet-50."""

_BLOCK = r"(\.blocks\.\d+)"
SWIN_RENAMES = (
    (rf"{_BLOCK}\.attention\.self\.query\.", r"\1.attention.q_proj."),
    (rf"{_BLOCK}\.attention\.self\.key\.", r"\1.attention.k_proj."),
    (rf"{_BLOCK}\.attention\.self\.value\.", r"\1.attention.v_proj."),
    (
        rf"{_BLOCK}\.attention\.self\.relative_position_bias_table$",
        r"\1.attention.relative_position_bias.relative_position_bias_table",
    ),
    (rf"{_BLOCK}\.attention\.output\.dense\.", r"\1.attention.o_proj."),
    (rf"{_BLOCK}\.intermediate\.dense\.", r"\1.mlp.fc1."),
    (rf"{_BLOCK}\.output\.dense\.", r"\1.mlp.fc2."),
)
"""Renames from the Swin keys of transformers 4, as published, to those of transformers 5.

Anchored at ``blocks``: BERT's keys have the same endings and must not change.
"""


@dataclass(frozen=True)
class Shapes:
    """Configurations of both towers, by default the published ones; tests use small ones."""

    bert: BertConfig = field(
        default_factory=lambda: BertConfig(
            vocab_size=28_996,
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=3072,
            max_position_embeddings=512,
            hidden_act="gelu",
            layer_norm_eps=1e-12,
        )
    )
    swin: SwinConfig = field(
        default_factory=lambda: SwinConfig(
            image_size=PIXELS,
            patch_size=4,
            num_channels=3,
            embed_dim=96,
            depths=[2, 2, 6, 2],
            num_heads=[3, 6, 12, 24],
            window_size=7,
            layer_norm_eps=1e-5,
        )
    )


def build_bert(config: BertConfig) -> BertModel:
    """Create the text tower; its pooler is unused but part of the published checkpoint."""
    return BertModel(config, add_pooling_layer=True)


def build_swin(config: SwinConfig) -> SwinModel:
    return SwinModel(config, add_pooling_layer=True)


def build_resnet(projection: nn.Module) -> ResNet:
    """Create a ResNet-50 with ``projection`` in place of its classifier."""
    resnet = resnet50(weights=None)
    resnet.fc = projection
    return resnet


class Network(nn.Module, ABC):
    """Both towers, with the parameter names of the published checkpoint."""

    @abstractmethod
    def image_features(self, pixels: Tensor) -> Tensor:
        """Project images, float32 ``[B, 3, 224, 224]``, to ``[B, 512]``."""

    @abstractmethod
    def text_features(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Project token ids, int64 ``[B, T]`` with their mask, to ``[B, 512]``."""


@dataclass(frozen=True)
class Publication:
    """Published form of a model, and its loader.

    Attributes:
        name: The display name of the model.
        loader: The importable name of its loader, for error messages.
        filenames: By variant, the published file names, in order of preference.
        where: The download location and the licence, for error messages.
        prefixes: By variant, the prefix that only its keys have.
        network: Creates the towers from shapes, a variant and the values of ``choices``.
        preprocessing: By variant, radiographs to pixels.
        schema: The version of the code that computes embeddings, for the fingerprint.
        text_policy: The text that the model reads.
        details: Facts for the result: source and licence.
        choices: Further options that change an embedding, with their values, the default first.
    """

    name: str
    loader: str
    filenames: Mapping[str, Sequence[str]]
    where: str
    prefixes: Mapping[str, str]
    network: Callable[..., Network]
    preprocessing: Mapping[str, Preprocessing]
    schema: str
    text_policy: TextPolicy
    details: Mapping[str, str]
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def load(
        self, weights: str | Path | None, device: str, options: Mapping[str, Any]
    ) -> TwoTowers:
        """Load the model; the image tower is detected from the checkpoint.

        Args:
            weights: The checkpoint file; None to search the folder in ROBUSTNESS_WEIGHTS.
            device: A torch device.
            options: ``tokenizer``, the vocabulary file or a directory with it (the hub's, if
                None); ``variant``, the required image tower; and the choices.

        Raises:
            UsageError: An option or its value is unknown.
            WeightsNotFoundError: The weights or the vocabulary are not found.
            WeightsError: They belong to another model, or are damaged.
        """
        allowed = ("tokenizer", "variant", *self.choices)
        _checkpoint.reject_unknown_options(self.loader, options, allowed)
        variant = options.get("variant")
        for option, values in {"variant": (None, *VARIANTS), **self.choices}.items():
            value = options.get(option, values[0])
            if value not in values:
                raise UsageError(
                    f"{self.loader}: {option}={value!r} is not one of"
                    f" {', '.join(filter(None, values))}"
                )
        filenames = [
            filename
            for name in VARIANTS
            if variant in {None, name}
            for filename in self.filenames[name]
        ]
        path = _checkpoint.find(self.name, weights, filenames, self.where)
        shapes = Shapes()
        tokenizer = self.tokenizer(options.get("tokenizer"), shapes)
        checkpoint = _checkpoint.read(path)
        detected = self._detect_variant(checkpoint, variant)
        choices = {option: value for option, value in options.items() if option in self.choices}
        return self.build(checkpoint, tokenizer, shapes, detected, device, **choices)

    def tokenizer(self, source: str | Path | None, shapes: Shapes) -> _bert.Tokenizer:
        """Return the tokenizer; see :func:`robustness.models._bert.load_tokenizer`."""
        return _bert.load_tokenizer(source, shapes.bert.vocab_size, self.text_policy.max_tokens)

    def build(
        self,
        checkpoint: Checkpoint,
        tokenizer: _bert.Tokenizer,
        shapes: Shapes,
        variant: str,
        device: str = "cpu",
        **choices: str,
    ) -> TwoTowers:
        """Load a checkpoint into towers of the given shapes.

        Raises:
            WeightsError: The checkpoint does not match the towers.
        """
        path = checkpoint.path
        choices = {option: values[0] for option, values in self.choices.items()} | choices
        # The initial weights are random. Loading must not advance the caller's generator.
        with torch.random.fork_rng(devices=[]):
            network = self.network(shapes, variant, **choices)
        state = _checkpoint.rename(checkpoint.state, SWIN_RENAMES, path=path)
        _checkpoint.load_strictly(network, state, path=path)

        def encode_texts(towers: Any, texts: list[str]) -> Tensor:
            ids, mask = tokenizer(texts)
            return torch.as_tensor(towers.text_features(ids.to(device), mask.to(device)))

        return TwoTowers(
            self.name,
            network,
            pixels=self.preprocessing[variant],
            images=lambda towers, pixels: towers.image_features(pixels),
            texts=encode_texts,
            embedding_dim=EMBEDDING_DIM,
            fingerprint=_checkpoint.fingerprint(
                self.schema, network.state_dict(), variant, *choices.values(), tokenizer.sha256
            ),
            text_policy=self.text_policy,
            device=device,
            details={
                "weights_sha256": checkpoint.sha256,
                "weights_file": path.name,
                "sha256_matches_published": _checkpoint.check_sha256(checkpoint, None),
                **self.details,
                "variant": variant,
                "tokenizer_sha256": tokenizer.sha256,
                **choices,
            },
            checkpoint=path,
        )

    def _detect_variant(self, checkpoint: Checkpoint, required: str | None) -> str:
        path, state = checkpoint.path, checkpoint.state
        detected = [
            variant
            for variant, prefix in self.prefixes.items()
            if any(key.startswith(prefix) for key in state)
        ]
        expected = " or ".join(
            f"{prefix}* ({variant})" for variant, prefix in self.prefixes.items()
        )
        if not detected:
            raise _checkpoint.unusable(
                path, f"it is of another model: no key is {expected}; it has {sorted(state)[:3]}"
            )
        if len(detected) > 1:
            raise _checkpoint.unusable(path, f"it has two image towers, {expected}")
        if required not in {None, detected[0]}:
            raise _checkpoint.unusable(
                path,
                f"its image tower is {detected[0]}, not {required} as requested; name the"
                f" {required} file, or leave variant out",
            )
        return detected[0]
