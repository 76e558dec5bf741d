"""What CLIP and the models fine-tuned from it share: open_clip's towers and tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models import _checkpoint
from models._encoder import TwoTowers
from models._preprocessing import Preprocessing
from robustness.encoder import TextPolicy
from robustness.errors import UsageError

ARCHITECTURE = "ViT-B-32-quickgelu"
"""open_clip's name of ViT-B/32 with OpenAI's activation; plain ``ViT-B-32`` is another."""

TOLERATED = ("input_resolution", "context_length", "vocab_size")
"""Entries of OpenAI's archives that describe the model and are no weights."""

_SCHEMA = "clip-1"


@dataclass(frozen=True, slots=True)
class Shaping:
    """How a model turns radiographs into pixels.

    Attributes:
        preprocessing: From the model's side to its preprocessing.
        text: Every value that shapes the pixels, for the fingerprint.
    """

    preprocessing: Callable[[int], Preprocessing]
    text: str


def architecture(options: Mapping[str, Any], allowed: Sequence[str], loader: str) -> str:
    """Checks a loader's options and returns the one that names open_clip's architecture.

    Args:
        options: The options as they were given.
        allowed: Those that the loader takes.
        loader: Its importable name, for errors.

    Raises:
        UsageError: An option is unknown, or the architecture is none of OpenAI's form.
    """
    from open_clip import get_model_config

    if unknown := sorted(options.keys() - set(allowed)):
        raise UsageError(
            f"{loader} takes no option {', '.join(map(repr, unknown))};"
            f" it takes {', '.join(allowed)}"
        )
    name = str(options.get("architecture", ARCHITECTURE))
    config = get_model_config(name)
    if config is None:
        raise UsageError(
            f"{loader}: open_clip has no architecture {name!r}; name one of its configurations,"
            f" such as {ARCHITECTURE}"
        )
    if not config.get("quick_gelu"):
        raise UsageError(
            f"{loader}: architecture {name!r} has another activation than OpenAI's weights were"
            f" trained with; name one with quickgelu, such as {ARCHITECTURE}"
        )
    return name


def encoder(  # noqa: PLR0913 - each differs between the models of this form
    called: str,
    path: Path,
    name: str,
    shaping: Shaping,
    *,
    sections: tuple[str, ...],
    device: str,
    details: dict[str, str],
    published_as: tuple[str, str | None],
) -> TwoTowers:
    """Loads a checkpoint of OpenAI's form: an archive, a state dict, fp16 or not.

    Args:
        called: The model, as a person knows it.
        path: The checkpoint.
        name: open_clip's name of the architecture.
        shaping: How radiographs become pixels.
        sections: The report sections that the model reads.
        device: A torch device.
        details: Facts for the result, beside those about the file.
        published_as: The published file's name and its SHA-256, where one is known.

    Raises:
        WeightsError: The file is damaged or holds another model.
    """
    from open_clip import CLIP, SimpleTokenizer, get_model_config

    checkpoint = _checkpoint.read(path)
    # The towers start from random weights: loading must not advance the caller's numbers.
    with torch.random.fork_rng(devices=[]):
        model = CLIP(**get_model_config(name))
    _checkpoint.load_strictly(model, checkpoint.state, path=path, tolerated=TOLERATED)
    filename, known = published_as
    side = int(model.visual.image_size[0])
    parts = (name, str(side), str(model.context_length), shaping.text)
    tokenize = SimpleTokenizer(context_length=model.context_length)
    return TwoTowers(
        called,
        model,
        pixels=shaping.preprocessing(side),
        images=CLIP.encode_image,
        texts=lambda network, texts: network.encode_text(tokenize(texts).to(device)),
        embedding_dim=model.text_projection.shape[1],
        fingerprint=_checkpoint.fingerprint(_SCHEMA, model.state_dict(), *parts),
        text_policy=TextPolicy(
            sections=sections,
            max_tokens=model.context_length,
            truncation=f"the first {model.context_length - 1} tokens are kept, then the end token",
        ),
        device=device,
        details={
            "weights_sha256": checkpoint.sha256,
            "sha256_matches_published": _checkpoint.check_sha256(checkpoint, known, filename),
            "variant": name,
            **details,
        },
        checkpoint=path,
    )
