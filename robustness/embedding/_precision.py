"""Precision of forward passes: float32, or 16 bits."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from robustness.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from robustness.encoder import DualEncoder

FLOAT32 = "float32"

PRECISIONS = (FLOAT32, "bfloat16", "float16")
"""Precisions of the products in a forward pass; scores are always float32."""


def check_precision(precision: str, device: str) -> None:
    """Raise if a device does not compute in a precision.

    Args:
        precision: One of :data:`PRECISIONS`.
        device: Torch device of the model.

    Raises:
        UsageError: The precision is invalid, or the device does not support it.
    """
    import torch

    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    if precision == FLOAT32:
        return
    reason = ""
    try:
        with warnings.catch_warnings():
            # If torch cannot compute in a precision, it warns and computes in float32.
            warnings.simplefilter("error")
            ones = torch.ones(8, 8, device=device)
            with torch.autocast(ones.device.type, dtype=getattr(torch, precision)):
                actual = (ones @ ones).dtype
    except (RuntimeError, UserWarning) as error:
        reason = str(error).splitlines()[0]
    else:
        native = not ones.is_cuda or torch.cuda.is_bf16_supported(including_emulation=False)
        if actual != getattr(torch, precision):
            reason = f"products are computed in {actual}"
        elif precision == "bfloat16" and not native:
            reason = "it would be emulated"
    if reason:
        raise UsageError(
            f"precision {precision!r} is not available on device {device!r}: {reason}; use float32"
            " or another device"
        )


def computing_in(precision: str, encoder: DualEncoder) -> AbstractContextManager[object]:
    """Return a context in which a model computes in a precision."""
    return nullcontext() if precision == FLOAT32 else encoder.computing_in(precision)


def restored(encoder: DualEncoder, output: Tensor, precision: str) -> Tensor:
    """Return embeddings as float32, with unit norm again if they are compared by cosine."""
    import torch

    if precision == FLOAT32:
        return output
    rows = output.float()
    return torch.nn.functional.normalize(rows, dim=-1) if encoder.scores_by_cosine else rows
