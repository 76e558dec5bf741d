"""A checkpoint with slightly other weights, to see that an encoder notices."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

SCALE = 1.01


def perturbed(checkpoint: Path, folder: Path) -> Path | None:
    """Writes a copy of a checkpoint whose floating-point weights are one percent larger.

    Args:
        checkpoint: safetensors, or a file of tensors that torch reads with
            ``weights_only=True``; nothing in it is executed.
        folder: Where the copy goes, under the same name.

    Returns:
        The copy, or None where the file has another form.
    """
    copy = folder / checkpoint.name
    try:
        with safe_open(checkpoint, "pt") as file:
            metadata = file.metadata()
        save_file(_scaled(load_file(checkpoint)), copy, metadata)
    except (SafetensorError, OSError):
        try:
            content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError):
            return None
        torch.save(_scaled(content), copy)
    return copy


def _scaled(content: Any) -> Any:
    if isinstance(content, torch.Tensor):
        return content * SCALE if content.is_floating_point() else content
    if isinstance(content, dict):
        return {key: _scaled(value) for key, value in content.items()}
    return content
