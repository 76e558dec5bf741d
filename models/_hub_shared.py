"""What both hub loaders share: the hub's errors, a tokenizer's identity and fit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError
from torch import nn

from models import _checkpoint
from robustness.encoder import TextPolicy
from robustness.errors import WeightsError, WeightsNotFoundError

TEXT_FILES = ("*.json", "*.txt", "*.model")
"""Configurations and vocabularies, as repositories of models name them."""


def policy(sections: tuple[str, ...], limit: int) -> TextPolicy:
    """What a model reads whose own tokenizer cuts the text."""
    return TextPolicy(sections, limit, f"cut to {limit} tokens by the model's own tokenizer")


def snapshot(model: str, repository: str, patterns: Sequence[str]) -> Path:
    """The directory of a hub repository's files, from the hub or its cache.

    Args:
        model: What was asked for, for the error.
        repository: ``organisation/name``.
        patterns: The files that are needed, where the repository has them.

    Raises:
        WeightsNotFoundError: There is no such repository, it is closed to this user, or the
            hub is out of reach and nothing is cached.
    """
    try:
        return Path(snapshot_download(repository, allow_patterns=list(patterns)))
    except (OSError, HFValidationError) as error:
        # Out of reach, with some of the files cached: the caller sees which are there.
        cached = getattr(error, "snapshot_path", None)
        if cached is not None:
            return Path(cached)
        raise WeightsNotFoundError(
            f"{model}: {repository} is not in the hub's cache and cannot be had from the hub"
            f" ({reason(error)}); correct the name, or download"
            f" https://huggingface.co/{repository} (licence and terms of access on that page)"
            " and name its directory as the model's weights"
        ) from error


def no_tokenizer(folder: Path, error: Exception) -> WeightsNotFoundError:
    """The error for a directory that no tokenizer can be made of."""
    return WeightsNotFoundError(
        f"directory {str(folder)!r}: no tokenizer can be made of it ({reason(error)}); name the"
        " directory of one as tokenizer=DIRECTORY"
    )


def reason(error: Exception) -> str:
    """An error of another library, on one line and short."""
    return f"{' '.join(str(error).split()) or type(error).__name__:.240}"


def identity(tokenizer: Any) -> str:
    """A hash of a transformers tokenizer, before its first use: rules, words, switches."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else ""
    words = sorted(tokenizer.get_vocab().items())
    # Switches such as do_lower_case; what else stands there are names and paths.
    switches = {k: v for k, v in tokenizer.init_kwargs.items() if isinstance(v, bool)}
    parts = [type(tokenizer).__name__, rules, words, sorted(switches.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def check_vocabulary(tokenizer: Any, words: int, where: str) -> None:
    """Refuses a tokenizer that knows more tokens than the model.

    Raises:
        WeightsError: An id would lie beyond the model's table.
    """
    largest = max(tokenizer.get_vocab().values(), default=-1) + 1
    if largest > words:
        raise WeightsError(
            f"tokenizer of {where!r} has a vocabulary of {largest} words, the model one of"
            f" {words}; name the model's own as tokenizer=DIRECTORY"
        )


def check_finite(model: nn.Module, path: Path) -> None:
    """Refuses weights that are not finite numbers.

    Raises:
        WeightsError: A tensor holds NaN or infinity.
    """
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise _checkpoint.unusable(path, f"tensor {key!r} holds values that are not finite")
