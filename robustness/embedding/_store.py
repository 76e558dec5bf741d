"""Content-addressed store of arrays, shared by any number of processes.

An entry's name is a hash of everything its arrays depend on, so an entry that is found is valid.
Entries are written atomically (temporary file, fsync, rename), under a lock that is released if
its process dies, and checked when they are read.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_bytes
from safetensors.numpy import save as save_bytes

from robustness._util.files import write_whole
from robustness.errors import StoreError

Arrays = dict[str, NDArray[Any]]

SCHEMA = "store-3"
"""Version of stored arrays; changed if a code change makes older entries wrong."""

CHECKSUM_BYTES = hashlib.sha256().digest_size

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class StoreCounts:
    """Number of entries that were found, computed, and found damaged."""

    found: int = 0
    computed: int = 0
    damaged: int = 0


class Store:
    """Arrays by key, on disk.

    Args:
        root: Folder of the store; created if it is missing.
        option: Command-line option that sets the folder, for error messages.

    Raises:
        StoreError: The folder cannot be created or written to.
    """

    def __init__(self, root: Path, option: str = "--robustness-store") -> None:
        self.root = root
        self.option = option
        self.counts = StoreCounts()
        try:
            (root / "locks").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"store {root} cannot be used: {error.strerror}; name a writable folder with"
                f" {option}"
            ) from error

    def fetch(self, key: Mapping[str, Any], compute: Callable[[], Arrays]) -> Arrays:
        """Return the arrays of a key; compute and store them if they are missing.

        If several processes fetch a key at once, one computes it and the others wait.

        Args:
            key: Everything the arrays depend on, as JSON values.
            compute: Returns the arrays.

        Raises:
            StoreError: The entry cannot be written.
        """
        (arrays,) = self.fetch_all([key], lambda _: [compute()])
        return arrays

    def get(self, key: Mapping[str, Any]) -> Arrays | None:
        """Return the arrays of a key; None if missing or damaged. Nothing is counted."""
        return self._read(self._path(key))

    def fetch_all(
        self,
        keys: Sequence[Mapping[str, Any]],
        compute: Callable[[Sequence[int]], Sequence[Arrays]],
    ) -> list[Arrays]:
        """Return the arrays of several keys; compute and store the missing ones in one call.

        All processes take locks in the same order, which excludes deadlocks.

        Args:
            keys: Everything the arrays of each entry depend on, as JSON values.
            compute: Takes the indexes of the missing keys, without duplicates, and returns their
                arrays in that order.

        Raises:
            StoreError: An entry cannot be written.
        """
        paths = [self._path(key) for key in keys]
        indexes = {path: index for index, path in reversed(list(enumerate(paths)))}
        entries = {path: self._read(path) for path in indexes}
        with ExitStack() as locks:
            for path in sorted(path for path, arrays in entries.items() if arrays is None):
                locks.enter_context(FileLock(self.root / "locks" / f"{path.stem}.lock"))
                entries[path] = self._read(path, report_damage=True)
            missing = sorted(
                (path for path, arrays in entries.items() if arrays is None),
                key=indexes.__getitem__,
            )
            if missing:
                computed = compute([indexes[path] for path in missing])
                for path, arrays in zip(missing, computed, strict=True):
                    self._write(path, arrays)
                    self.counts.computed += 1
                    entries[path] = arrays
        self.counts.found += len(entries) - len(missing)
        return [entries[path] or {} for path in paths]

    def _path(self, key: Mapping[str, Any]) -> Path:
        canonical = json.dumps({"schema": SCHEMA, **key}, sort_keys=True, allow_nan=False)
        name = hashlib.sha256(canonical.encode()).hexdigest()
        return self.root / name[:2] / f"{name}.arrays"

    def _read(self, path: Path, *, report_damage: bool = False) -> Arrays | None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        checksum, payload = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
        if _checksum(path, payload) == checksum:
            # An entry whose checksum is right may still not be a safetensors file.
            with suppress(SafetensorError):
                return dict(load_bytes(payload))
        if report_damage:
            self.counts.damaged += 1
            logger.warning("store entry %s is damaged and is computed again", path)
        return None

    def _write(self, path: Path, arrays: Arrays) -> None:
        # safetensors 0.8.0 stores wrong numbers for a non-contiguous array.
        payload = save_bytes({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        try:
            write_whole(path, _checksum(path, payload), payload)
        except OSError as error:
            raise StoreError(
                f"store entry {path} cannot be written: {error.strerror}; free disk space or use"
                f" another folder with {self.option}"
            ) from error


def _checksum(path: Path, payload: bytes) -> bytes:
    """Return a hash of an entry's name and content, so that a renamed entry is damaged."""
    return hashlib.sha256(path.stem.encode() + payload).digest()
