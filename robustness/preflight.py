"""What is seen to before the first case: that a run's device is there, its store writable."""

from __future__ import annotations

import tempfile
from pathlib import Path

from robustness.devices import require_device
from robustness.embedding import Store
from robustness.errors import StoreError
from robustness.files import shortest
from robustness.plan import Plan


def check(plan: Plan) -> None:
    """Refuses what would make every case of a run fail for one and the same cause.

    Makes the store's folder where it is missing; imports torch only where a device is named.

    Raises:
        StoreError: The store's folder cannot be made or written to.
        UsageError: The device is not on this machine.
    """
    require_store(plan.store)
    require_device(plan.device)


def require_store(root: Path) -> None:
    """Sees that a store's folder can be made and written to.

    Raises:
        StoreError: It cannot.
    """
    root = shortest(root)
    Store(root)
    try:
        # Its mode does not tell: a file system may be read-only, and root passes any mode.
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise StoreError(
            f"store {root} cannot be written to: {error.strerror}; name another folder with"
            " --robustness-store"
        ) from error
