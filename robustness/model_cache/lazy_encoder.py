"""Lazy encoder: use cached metadata, and load the model on first use."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from robustness.encoder import DualEncoder
from robustness.errors import Code, StoreError
from robustness.model_cache.entry import Entry, Metadata, ModelRequest


class LazyEncoder:
    """Stand-in for an encoder that has the same metadata and loads the model on first use.

    A virtual subclass of :class:`~robustness.encoder.DualEncoder`: every attribute that is not
    cached is looked up on the loaded model.

    Args:
        metadata: Cached metadata.
        device: Torch device that the model will run on.
        load: Loads the model.
        entry_path: Cache entry, deleted if the loaded model does not match ``metadata``.
    """

    def __init__(
        self, metadata: Metadata, device: str, load: Callable[[], DualEncoder], entry_path: Path
    ) -> None:
        for field in fields(metadata):
            setattr(self, field.name, getattr(metadata, field.name))
        self.device = device
        self._metadata = metadata
        self._load = load
        self._entry_path = entry_path
        self._encoder: DualEncoder | None = None

    def load(self) -> DualEncoder:
        """Return the model, loaded on the first call.

        Raises:
            GateError: The model cannot be loaded.
            StoreError: The model does not match the cached metadata; the entry is deleted.
        """
        if self._encoder is None:
            encoder = self._load()
            if Metadata.of(encoder) != self._metadata:
                self._entry_path.unlink(missing_ok=True)
                raise StoreError(
                    f"{self.name} does not match its cached metadata, although neither its"
                    " checkpoint nor its code changed: it depends on something that is not"
                    " tracked, such as an environment variable; the cache entry was deleted,"
                    " run again",
                    Code.STORE_STALE,
                )
            self._encoder = encoder
        return self._encoder

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.load(), name)


DualEncoder.register(LazyEncoder)


def unwrap(encoder: DualEncoder) -> DualEncoder:
    """Return the model behind a lazy encoder, loaded; any other encoder as it is.

    Raises:
        GateError: The model cannot be loaded.
    """
    return encoder.load() if isinstance(encoder, LazyEncoder) else encoder


def load_cached(
    request: ModelRequest, store: Path, device: str, load: Callable[[], DualEncoder]
) -> tuple[DualEncoder, Callable[[], str | None]]:
    """Return a lazy encoder if its cache entry is current; load and cache the model otherwise.

    Args:
        request: Request for the model.
        store: Folder of the store.
        device: Torch device that the model runs on.
        load: Loads the model.

    Returns:
        The encoder, and a function that returns its identity: a hash of the request, the
        metadata and the content of all files that the model depends on (it changes if the model
        imports more modules), or None if the model is not cacheable.

    Raises:
        GateError: The model cannot be loaded.
        StoreError: The cache entry cannot be read or written.
    """
    path = request.entry_path(store)
    entry = Entry.read(path)
    if entry is not None and not entry.is_current():
        entry = None
    loaded: tuple[DualEncoder, float] | None = None

    def load_timed() -> DualEncoder:
        nonlocal loaded
        started = time.time()
        loaded = load(), started
        return loaded[0]

    def identity() -> str | None:
        nonlocal entry
        if loaded is not None:
            latest = Entry.of(request, *loaded, entry)
            if latest is not None and latest != entry:
                latest.write(path)
            entry = latest
        return None if entry is None else entry.identity(request)

    if entry is not None:
        lazy = LazyEncoder(entry.metadata, device, load_timed, path)
        return cast("DualEncoder", lazy), identity
    encoder = load_timed()
    identity()
    return encoder, identity
