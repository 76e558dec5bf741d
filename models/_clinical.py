"""Shared loading of MedCLIP and CXR-CLIP: a Swin or ResNet-50, and Bio_ClinicalBERT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustness.encoder import TextPolicy
from robustness.errors import UsageError
from robustness.models import _bert, _checkpoint, _vision
from robustness.models._bert import EMBEDDING_DIM, Network, Tokenizer
from robustness.models._checkpoint import Checkpoint
from robustness.models._encoder import TwoTowers
from robustness.models._preprocessing import Preprocessing
from robustness.models._vision import VARIANTS, Shapes, published_shapes


@dataclass(frozen=True, slots=True)
class Publication:
    """Published form of a model.

    Attributes:
        name: The display name of the model.
        loader: The importable name of its loader, for error messages.
        options: The options of the loader.
        filenames: By variant, the published file names, in order of preference.
        where: The download location and the licence, for error messages.
        prefixes: By variant, the prefix that only its keys have.
        max_tokens: The number of tokens that are read, [CLS] and [SEP] included.
        details: Facts for the result: source and licence.
    """

    name: str
    loader: str
    options: Sequence[str]
    filenames: Mapping[str, Sequence[str]]
    where: str
    prefixes: Mapping[str, str]
    max_tokens: int
    details: Mapping[str, str]

    def read(
        self,
        weights: str | Path | None,
        tokenizer: str | Path | None,
        variant: str | None,
        unknown: Mapping[str, object],
    ) -> tuple[Checkpoint, Tokenizer, Shapes, str]:
        """Read the checkpoint and the vocabulary, and detect the variant.

        Args:
            weights: The checkpoint file; None to search the folder in ROBUSTNESS_WEIGHTS.
            tokenizer: The vocabulary file or a directory with it; None for the hub.
            variant: The required variant; None for any.
            unknown: Options of the user that the loader does not have.

        Raises:
            UsageError: An option or its value is unknown.
            WeightsNotFoundError: The weights or the vocabulary are not found.
            WeightsError: They belong to another model, or are damaged.
        """
        _checkpoint.reject_unknown_options(self.loader, unknown, self.options)
        if variant is not None:
            self.check_choice("variant", variant, VARIANTS)
        filenames = [
            filename
            for name in VARIANTS
            if variant in {None, name}
            for filename in self.filenames[name]
        ]
        path = _checkpoint.find(self.name, weights, filenames, self.where)
        shapes = published_shapes()
        words = _bert.load_tokenizer(tokenizer, shapes.bert.vocab_size, self.max_tokens)
        checkpoint = _checkpoint.read(path)
        detected = _vision.detect_variant(checkpoint.state, self.prefixes, path, variant)
        return checkpoint, words, shapes, detected

    def check_choice(self, option: str, value: object, allowed: Sequence[str]) -> None:
        """Raise if the value of an option is not allowed.

        Raises:
            UsageError: The value is not one of ``allowed``.
        """
        if not (isinstance(value, str) and value in allowed):
            raise UsageError(
                f"{self.loader}: {option}={value!r} is not one of {', '.join(allowed)}"
            )

    def encoder(  # noqa: PLR0913 - each differs between the two models
        self,
        network: Network,
        checkpoint: Checkpoint,
        tokenizer: Tokenizer,
        *,
        preprocessing: Preprocessing,
        schema: str,
        variant: str,
        text_policy: TextPolicy,
        device: str,
        options: Mapping[str, str],
    ) -> TwoTowers:
        """Load a checkpoint into a network, and wrap it as an encoder.

        Args:
            network: The towers; filled in place.
            checkpoint: The checkpoint.
            tokenizer: The tokenizer of the text tower.
            preprocessing: Radiographs to pixels.
            schema: The version of the code that computes embeddings, for the fingerprint.
            variant: The image tower.
            text_policy: The text that the model reads.
            device: A torch device.
            options: Further options that change an embedding, for the fingerprint and result.

        Raises:
            WeightsError: The checkpoint does not match the network.
        """
        path = checkpoint.path
        state = _checkpoint.rename(checkpoint.state, _vision.SWIN_RENAMES, path=path)
        _checkpoint.load_strictly(network, state, path=path)

        def encode_texts(towers: Any, texts: list[str]) -> Tensor:
            ids, mask = tokenizer(texts)
            return torch.as_tensor(towers.text_features(ids.to(device), mask.to(device)))

        return TwoTowers(
            self.name,
            network,
            pixels=preprocessing,
            images=lambda towers, pixels: towers.image_features(pixels),
            texts=encode_texts,
            embedding_dim=EMBEDDING_DIM,
            fingerprint=_checkpoint.fingerprint(
                schema, network.state_dict(), variant, *options.values(), tokenizer.sha256
            ),
            text_policy=text_policy,
            device=device,
            details={
                "weights_sha256": checkpoint.sha256,
                "weights_file": path.name,
                "sha256_matches_published": _checkpoint.check_sha256(checkpoint, None),
                **self.details,
                "variant": variant,
                "tokenizer_sha256": tokenizer.sha256,
                **options,
            },
            checkpoint=path,
        )
