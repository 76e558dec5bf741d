"""A content-addressed store of arrays, shared by any number of processes.

An entry's name is a hash of everything its arrays depend on, so what is found never needs
to be compared with what was asked. Entries are written whole or not at all (temporary
file, fsync, atomic rename) under a lock that dies with its process, and checked when read.
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
"""Changes when code changes in a way that makes stored arrays wrong."""

CHECKSUM_BYTES = hashlib.sha256().digest_size


logger = logging.getLogger(__name__)


@dataclass(slots=True)
class StoreCounts:
    """What a store did: entries found, entries computed, entries found damaged."""

    found: int = 0
    computed: int = 0
    damaged: int = 0


class Store:
    """Arrays by key, on disk.

    Args:
        root: The store's folder; made where it is missing.
        option: The command line option that names the folder, for error messages.

    Raises:
        StoreError: The folder cannot be made or written to.
    """

    def __init__(self, root: Path, option: str = "--robustness-store") -> None:
        self.root = root
        self.option = option
        self.counts = StoreCounts()
        try:
            (root / "locks").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"store {root} cannot be used: {error.strerror}; name a folder that can be"
                f" written to with {option}"
            ) from error

    def fetch(self, key: Mapping[str, Any], compute: Callable[[], Arrays]) -> Arrays:
        """The arrays of a key, computed and kept where the store lacks them.

        Processes that ask for one key at once compute it once: the others wait.

        Args:
            key: Everything the arrays depend on, as JSON values.
            compute: Makes the arrays.

        Raises:
            StoreError: The entry cannot be written.
        """
        (arrays,) = self.fetch_all([key], lambda _: [compute()])
        return arrays

    def kept(self, key: Mapping[str, Any]) -> Arrays | None:
        """The arrays of a key, if they are there and whole; nothing is computed or counted."""
        return self._read(self._path(key))

    def fetch_all(
        self,
        keys: Sequence[Mapping[str, Any]],
        compute: Callable[[Sequence[int]], Sequence[Arrays]],
    ) -> list[Arrays]:
        """The arrays of several keys; what the store lacks is computed at once.

        Locks are taken in one order by all processes, so that no two wait for each other.

        Args:
            keys: For each entry everything its arrays depend on, as JSON values.
            compute: From the places in ``keys`` of what is lacking, each key once, to its
                arrays in that order.

        Raises:
            StoreError: An entry cannot be written.
        """
        paths = [self._path(key) for key in keys]
        places = {path: place for place, path in reversed(list(enumerate(paths)))}
        entries = {path: self._read(path) for path in places}
        absent = sorted(path for path, arrays in entries.items() if arrays is None)
        with ExitStack() as locks:
            for path in absent:
                locks.enter_context(FileLock(self.root / "locks" / f"{path.stem}.lock"))
                entries[path] = self._read(path, say_damaged=True)
            lacking = sorted(
                (path for path, arrays in entries.items() if arrays is None), key=places.__getitem__
            )
            if lacking:
                made = compute([places[path] for path in lacking])
                for path, arrays in zip(lacking, made, strict=True):
                    self._write(path, arrays)
                    self.counts.computed += 1
                    entries[path] = arrays
        self.counts.found += len(entries) - len(lacking)
        return [entries[path] or {} for path in paths]

    def _path(self, key: Mapping[str, Any]) -> Path:
        canonical = json.dumps({"schema": SCHEMA, **key}, sort_keys=True, allow_nan=False)
        name = hashlib.sha256(canonical.encode()).hexdigest()
        return self.root / name[:2] / f"{name}.arrays"

    def _read(self, path: Path, *, say_damaged: bool = False) -> Arrays | None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        checksum, payload = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
        if _checksum(path, payload) == checksum:
            # A right checksum over wrong content is a damaged entry all the same.
            with suppress(SafetensorError):
                return dict(load_bytes(payload))
        if say_damaged:
            self.counts.damaged += 1
            logger.warning("store entry %s is damaged and is computed anew", path)
        return None

    def _write(self, path: Path, arrays: Arrays) -> None:
        payload = save_bytes({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        try:
            write_whole(path, _checksum(path, payload), payload)
        except OSError as error:
            raise StoreError(
                f"store entry {path} cannot be written: {error.strerror}; free some room or"
                f" name another folder with {self.option}"
            ) from error


def _checksum(path: Path, payload: bytes) -> bytes:
    """Binds an entry's content to its name: a copy under another name is damaged."""
    return hashlib.sha256(path.stem.encode() + payload).digest()
