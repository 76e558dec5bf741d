"""Where models run: the device a name stands for, and how precisely it computes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from robustness.errors import GateError


def choose_device(name: str) -> str:
    """The device a name stands for.

    Args:
        name: A torch device, or ``auto``: CUDA where there is one, else the CPU.

    Raises:
        GateError: The name is no device, or a device this machine lacks.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise GateError(
            f"device {name!r} cannot be used: {reason}; allowed are auto, cpu, cuda, cuda:N"
        ) from error
    return str(device)


@contextmanager
def measuring(workers: int) -> Iterator[None]:
    """Computes in full float32, on this process's share of the cores, while it lasts.

    Args:
        workers: How many processes compute side by side.
    """
    import torch

    before = torch.get_num_threads()
    # cuDNN's convolutions use TF32 unless told otherwise: three digits instead of seven.
    convolutions = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else before
    torch.set_num_threads(max(1, min(before, available // workers)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.backends.cudnn.allow_tf32 = convolutions
