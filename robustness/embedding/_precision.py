"""How precisely a model computes: in float32, or in 16 bits."""

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
"""What the products of a forward pass may be computed in; scores are in float32 always."""


def check_precision(precision: str, device: str) -> None:
    """Refuses a precision that cannot be had.

    Args:
        precision: A name of :data:`PRECISIONS`.
        device: Where the model runs.

    Raises:
        UsageError: There is no such precision, or the device does not compute in it.
    """
    import torch

    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    if precision == FLOAT32:
        return
    reason = ""
    try:
        with warnings.catch_warnings():
            # torch computes in float32 after a warning where it cannot do what it was told to.
            warnings.simplefilter("error")
            ones = torch.ones(8, 8, device=device)
            with torch.autocast(ones.device.type, dtype=getattr(torch, precision)):
                found = (ones @ ones).dtype
    except (RuntimeError, UserWarning) as error:
        reason = str(error).splitlines()[0]
    else:
        if found != getattr(torch, precision):
            reason = f"products are computed in {found}"
        elif precision == "bfloat16" and ones.is_cuda and not _computes_bfloat16():
            reason = "it would be emulated"
    if reason:
        raise UsageError(
            f"precision {precision!r} cannot be had on device {device!r}: {reason}; take float32,"
            " or another device"
        )


def _computes_bfloat16() -> bool:
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def cast(precision: str, encoder: DualEncoder) -> AbstractContextManager[object]:
    """Has a model compute in a precision while it lasts; in float32 nothing is changed."""
    return nullcontext() if precision == FLOAT32 else encoder.computing_in(precision)


def restored(encoder: DualEncoder, output: Tensor, precision: str) -> Tensor:
    """Embeddings back in float32 and, where they are compared by cosine, of unit norm again."""
    import torch

    if precision == FLOAT32:
        return output
    rows = output.float()
    return torch.nn.functional.normalize(rows, dim=-1) if encoder.scores_by_cosine else rows
