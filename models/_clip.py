"""Shared loading of CLIP and its fine-tuned models, with the towers of open_clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from robustness.encoder import TextPolicy
from robustness.errors import UsageError
from robustness.models import _checkpoint
from robustness.models._encoder import TwoTowers
from robustness.models._preprocessing import Preprocessing

ARCHITECTURE = "ViT-B-32-quickgelu"
"""open_clip's name of ViT-B/32 with OpenAI's activation; ``ViT-B-32`` has another one."""

_SCHEMA = "clip-1"


def architecture(options: Mapping[str, Any], allowed: Sequence[str], loader: str) -> str:
    """Check the user's options for a loader and return the name of open_clip's architecture.

    Raises:
        UsageError: An option is unknown, or the architecture is not one of OpenAI's.
    """
    from open_clip import get_model_config

    _checkpoint.reject_unknown_options(loader, options, allowed)
    name = str(options.get("architecture", ARCHITECTURE))
    config = get_model_config(name)
    if config is None:
        raise UsageError(
            f"{loader}: open_clip has no architecture {name!r}; name one of its configurations,"
            f" such as {ARCHITECTURE}"
        )
    if not config.get("quick_gelu"):
        raise UsageError(
            f"{loader}: architecture {name!r} has another activation than the one OpenAI's weights"
            f" were trained with; name one with quickgelu, such as {ARCHITECTURE}"
        )
    return name


def encoder(  # noqa: PLR0913 - each differs between the models of this form
    model_name: str,
    path: Path,
    name: str,
    *,
    pixels: Callable[[int], Preprocessing],
    shaping: str,
    sections: tuple[str, ...],
    device: str,
    details: dict[str, str],
    published_as: tuple[str, str | None],
) -> TwoTowers:
    """Load a checkpoint in OpenAI's format: an archive or a state dict, in any precision.

    Args:
        model_name: The display name of the model.
        path: The checkpoint.
        name: open_clip's name of the architecture.
        pixels: Creates the preprocessing for an input height and width.
        shaping: Every setting that changes the pixels, for the fingerprint.
        sections: The report sections that the model reads.
        device: A torch device.
        details: Facts for the result, in addition to those about the file.
        published_as: The published file name and its SHA-256; None if it is unknown.

    Raises:
        WeightsError: The file is damaged or has another model.
    """
    from open_clip import CLIP, SimpleTokenizer, get_model_config

    checkpoint = _checkpoint.read(path)
    # The initial weights are random. Loading must not advance the caller's generator.
    with torch.random.fork_rng(devices=[]):
        model = CLIP(**get_model_config(name))
    _checkpoint.load_strictly(model, checkpoint.state, path=path)
    filename, published_sha256 = published_as
    side, limit = int(model.visual.image_size[0]), model.context_length
    parts = (name, str(side), str(limit), shaping)
    tokenize = SimpleTokenizer(context_length=limit)
    return TwoTowers(
        model_name,
        model,
        pixels=pixels(side),
        images=CLIP.encode_image,
        texts=lambda network, texts: network.encode_text(tokenize(texts).to(device)),
        embedding_dim=model.text_projection.shape[1],
        fingerprint=_checkpoint.fingerprint(_SCHEMA, model.state_dict(), *parts),
        text_policy=TextPolicy(
            sections=sections,
            max_tokens=limit,
            truncation=f"the first {limit - 1} tokens are kept, then the end token",
        ),
        device=device,
        details={
            "weights_sha256": checkpoint.sha256,
            "sha256_matches_published": _checkpoint.check_sha256(
                checkpoint, published_sha256, filename
            ),
            "variant": name,
            **details,
        },
        checkpoint=path,
    )
