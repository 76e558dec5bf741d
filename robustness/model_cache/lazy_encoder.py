"""Lazy encoder: use cached metadata, and load the model on first use."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from robustness.encoder import DualEncoder
from robustness.errors import StoreError
from robustness.model_cache.entry import Entry, Metadata
from robustness.model_cache.request import ModelRequest


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
        self._metadata = metadata
        self._load = load
        self._entry_path = entry_path
        self._encoder: DualEncoder | None = None
        self.name = metadata.name
        self.fingerprint = metadata.fingerprint
        self.text_policy = metadata.text_policy
        self.embedding_dim = metadata.embedding_dim
        self.details = metadata.details
        self.checkpoint = None if metadata.checkpoint is None else Path(metadata.checkpoint)
        self.scores_by_cosine = metadata.scores_by_cosine
        self.device = device

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
                    "store_stale",
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


class _CachedModel:
    """A model and its cache entry."""

    def __init__(self, request: ModelRequest, store: Path, load: Callable[[], DualEncoder]) -> None:
        self._request = request
        self._path = request.entry_path(store)
        self._load = load
        self._stored = Entry.read(self._path)
        self._started = 0.0
        self._model: DualEncoder | None = None
        self._inputs: frozenset[Path] | None = None
        self.entry = None if self._stored is None else self._stored.current()
        self._save()

    def load(self) -> DualEncoder:
        self._started = time.time()
        self._model = self._load()
        return self._model

    def lazy_encoder(self, metadata: Metadata, device: str) -> DualEncoder:
        return cast("DualEncoder", LazyEncoder(metadata, device, self.load, self._path))

    def identity(self) -> str | None:
        """Return the identity; update the entry if a loaded model has imported more modules."""
        if self._model is not None:
            inputs = frozenset(self._request.input_paths(self._model))
            if inputs != self._inputs:
                self._inputs = inputs
                self.entry = Entry.of(
                    self._request, self._model, started=self._started, previous=self._stored
                )
                self._save()
        return None if self.entry is None else self.entry.identity(self._request)

    def _save(self) -> None:
        if self.entry is not None and self.entry != self._stored:
            self.entry.write(self._path)
            self._stored = self.entry


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
    cached = _CachedModel(request, store, load)
    if cached.entry is not None:
        return cached.lazy_encoder(cached.entry.metadata, device), cached.identity
    model = cached.load()
    cached.identity()
    return model, cached.identity
