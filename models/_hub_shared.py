"""Shared parts of both hub loaders: downloads, errors, tokenizer checks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError

from robustness.encoder import TextPolicy
from robustness.errors import WeightsError, WeightsNotFoundError

TEXT_FILES = ("*.json", "*.txt", "*.model")
"""File patterns of configurations and vocabularies."""


def policy(sections: tuple[str, ...], limit: int) -> TextPolicy:
    return TextPolicy(sections, limit, f"cut to {limit} tokens by the model's own tokenizer")


def snapshot(model: str, repository: str, patterns: Sequence[str]) -> Path:
    """Return a directory with files of a hub repository, from the hub or its cache.

    Args:
        model: The requested model, for the error message.
        repository: ``organisation/name``.
        patterns: The needed files; those that the repository does not have are left out.

    Raises:
        WeightsNotFoundError: The repository does not exist or is closed to this user, or the
            hub cannot be reached and nothing is cached.
    """
    try:
        return Path(snapshot_download(repository, allow_patterns=list(patterns)))
    except (OSError, HFValidationError) as error:
        # The hub cannot be reached but files are cached: the caller checks which.
        cached = getattr(error, "snapshot_path", None)
        if cached is not None:
            return Path(cached)
        raise WeightsNotFoundError(
            f"{model}: {repository} is not in the hub's cache and cannot be downloaded"
            f" ({reason(error)}); correct the name, or download"
            f" https://huggingface.co/{repository} (licence and terms of access on that page)"
            " and name its directory as the model's weights"
        ) from error


def no_tokenizer(folder: Path, error: Exception) -> WeightsNotFoundError:
    """Return the error for a directory without a usable tokenizer."""
    libraries = {"sentencepiece": "sentencepiece", "protobuf": "google.protobuf"}
    missing = [
        name
        for name, module in libraries.items()
        if name in str(error).lower() and not _is_installed(module)
    ]
    remedy = (
        f"it needs {' and '.join(missing)}: pip install 'robustness-gate[siglip]'"
        if missing
        else "name the directory of one as tokenizer=DIRECTORY"
    )
    return WeightsNotFoundError(
        f"directory {str(folder)!r}: no tokenizer can be made of it ({reason(error)}); {remedy}"
    )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that contains it
        return False


def reason(error: Exception) -> str:
    """Return the text of another library's error as one short line."""
    return f"{' '.join(str(error).split()) or type(error).__name__:.240}"


def identity(tokenizer: Any) -> str:
    """Return the hash of a transformers tokenizer before its first use: rules, words, switches."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else ""
    words = sorted(tokenizer.get_vocab().items())
    # Only switches such as do_lower_case: the other values are names and paths.
    switches = {k: v for k, v in tokenizer.init_kwargs.items() if isinstance(v, bool)}
    parts = [type(tokenizer).__name__, rules, words, sorted(switches.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def check_vocabulary(tokenizer: Any, words: int, where: str) -> None:
    """Raise if a tokenizer has more tokens than the model.

    Raises:
        WeightsError: An id would exceed the embedding table of the model.
    """
    largest = max(tokenizer.get_vocab().values(), default=-1) + 1
    if largest > words:
        raise WeightsError(
            f"tokenizer of {where!r} has a vocabulary of {largest} words, the model one of"
            f" {words}; name the model's own as tokenizer=DIRECTORY"
        )
