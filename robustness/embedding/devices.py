"""Devices that models run on, and their numerical settings."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from robustness._util.environment import cores
from robustness.errors import Code, GateError, UsageError

ALWAYS_AVAILABLE = ("auto", "cpu")
"""Device names that are valid on every machine."""


def worker_index(worker: str | None) -> int:
    """Return the number of an xdist worker such as ``gw3``; 0 for other processes."""
    number = re.search(r"\d+$", worker or "")
    return int(number[0]) if number else 0


def assign_device(name: str, worker: int, devices: int) -> str:
    """Return the device of a worker; workers take the CUDA devices in turn.

    Args:
        name: A torch device, or ``auto``: CUDA if available, else the CPU.
        worker: Index of the worker.
        devices: Number of visible CUDA devices, see ``CUDA_VISIBLE_DEVICES``.

    Returns:
        The name of one device; a name with a device number is returned unchanged.

    Example:
        >>> assign_device("auto", worker=3, devices=2), assign_device("auto", worker=3, devices=0)
        ('cuda:1', 'cpu')
    """
    if name in {"auto", "cuda"} and devices:
        return f"cuda:{worker % devices}"
    return "cpu" if name == "auto" else name


def choose_device(name: str) -> str:
    """Return the device that this process uses.

    Args:
        name: A torch device, or ``auto``: CUDA if available, else the CPU.

    Raises:
        UsageError: The name is invalid, or this machine does not have the device.
        GateError: The device exists but cannot be used.
    """
    import torch

    require_device(name)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    assigned = assign_device(name, worker_index(os.environ.get("PYTEST_XDIST_WORKER")), count)
    try:
        device = torch.device(assigned)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise GateError(
            f"device {name!r} cannot be used: {reason}; allowed are {', '.join(_allowed())}"
        ) from error
    return str(device)


def require_device(name: str) -> None:
    """Check that this machine has a device, without allocating memory on it.

    torch is only imported for names other than ``auto`` and ``cpu``.

    Args:
        name: A torch device, or ``auto``.

    Raises:
        UsageError: This machine does not have the device.
    """
    if name in ALWAYS_AVAILABLE:
        return
    allowed = _allowed()
    if name not in allowed:
        raise UsageError(
            f"device {name!r} cannot be used: torch finds none such here; allowed are"
            f" {', '.join(allowed)}",
            Code.UNKNOWN_DEVICE,
        )


def _allowed() -> list[str]:
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return [*ALWAYS_AVAILABLE]
    numbered = [f"{accelerator.type}:{i}" for i in range(torch.accelerator.device_count())]
    return [*ALWAYS_AVAILABLE, accelerator.type, *numbered]


@contextmanager
def measuring(workers: int) -> Iterator[None]:
    """Compute in full float32 with this process's share of the cores, for a ``with`` block.

    Args:
        workers: Number of processes that compute in parallel.
    """
    import torch

    threads = torch.get_num_threads()
    # By default cuDNN's convolutions use TF32, which has three digits instead of seven.
    allow_tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    torch.set_num_threads(max(1, min(threads, (cores() or threads) // workers)))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = allow_tf32
