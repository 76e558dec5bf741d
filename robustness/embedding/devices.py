"""Where models run: the device a name stands for, and how precisely it computes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from robustness.errors import GateError, UsageError

ANYWHERE = ("auto", "cpu")
"""What every machine has."""


def worker_index(worker: str | None) -> int:
    """The number of an xdist worker such as ``gw3``; 0 for what is none or has none."""
    found = re.search(r"\d+$", worker or "")
    return int(found[0]) if found else 0


def assign_device(name: str, worker: int, devices: int) -> str:
    """The device that a worker takes: they go round the CUDA devices.

    Args:
        name: A torch device, or ``auto``: CUDA where there is one, else the CPU.
        worker: The worker's number, from 0.
        devices: How many CUDA devices the caller sees; ``CUDA_VISIBLE_DEVICES`` lets through
            and numbers them.

    Returns:
        A device by its full name; a device that was named by its number stays as it is.
    """
    if name in {"auto", "cuda"} and devices:
        return f"cuda:{worker % devices}"
    return "cpu" if name == "auto" else name


def choose_device(name: str) -> str:
    """The device a name stands for in this process.

    Args:
        name: A torch device, or ``auto``: CUDA where there is one, else the CPU.

    Raises:
        UsageError: The name is no device, or a device this machine lacks.
        GateError: The device is there and cannot be used.
    """
    import torch

    require_device(name)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    chosen = assign_device(name, worker_index(os.environ.get("PYTEST_XDIST_WORKER")), count)
    try:
        device = torch.device(chosen)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise GateError(
            f"device {name!r} cannot be used: {reason}; allowed are {', '.join(_allowed())}"
        ) from error
    return str(device)


def require_device(name: str) -> None:
    """Sees that a device is on this machine, without taking memory on it.

    Imports torch only for a name other than ``auto`` and ``cpu``, which are always there.

    Args:
        name: A torch device, or ``auto``.

    Raises:
        UsageError: There is no such device here.
    """
    if name in ANYWHERE:
        return
    allowed = _allowed()
    if name not in allowed:
        raise UsageError(
            f"device {name!r} cannot be used: torch finds none such here; allowed are"
            f" {', '.join(allowed)}",
            "unknown_device",
        )


def _allowed() -> list[str]:
    """The names of the devices of this machine."""
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return [*ANYWHERE]
    numbered = [f"{accelerator.type}:{i}" for i in range(torch.accelerator.device_count())]
    return [*ANYWHERE, accelerator.type, *numbered]


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
