"""What is known of a model without loading it: what it was when it was loaded last.

A run that finds every embedding in the store needs of a model its fingerprint, its text
policy and the like. They are kept beside the store, with the stamps of all the files they
may depend on: the checkpoint, or the folder that holds the model, files that options name, all
that was opened while it was loaded, the loader's package, and every module that is no installed
library's, those among them that it imports only when it embeds. Where one of them changed, or a
variable of the environment, the model is loaded.

What a hub gives shows only when it is asked, so a model is remembered only where its
checkpoint or folder was named, or lies in ROBUSTNESS_WEIGHTS or in the loader's own package.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robustness.encoder import DualEncoder
from robustness.errors import StoreError
from robustness.loading import Loading
from robustness.notes import Facts, paths_of, recall, remember
from robustness.opened import opened

if TYPE_CHECKING:
    from torch import Tensor

Identity = Callable[[], str | None]
"""Gives what tells a model, its code and weights, from any other; None where nothing does."""


class RememberedEncoder(DualEncoder):
    """A model that is loaded when it is first asked to embed something.

    Args:
        facts: What it was.
        device: Where it is to run.
        load: Loads it.
        path: Where the facts are kept.
    """

    def __init__(
        self, facts: Facts, device: str, load: Callable[[], DualEncoder], path: Path
    ) -> None:
        self._facts = facts
        self._load = load
        self._path = path
        self.fingerprint = facts.fingerprint
        self.text_policy = facts.text_policy
        self.embedding_dim = facts.embedding_dim
        self.details = facts.details
        self.checkpoint = None if facts.checkpoint is None else Path(facts.checkpoint)
        self.device = device

    @property
    def is_loaded(self) -> bool:
        """Whether it was asked to embed something."""
        return "loaded" in vars(self)

    @cached_property
    def loaded(self) -> DualEncoder:
        """The model itself.

        Raises:
            GateError: It cannot be loaded.
            StoreError: It is not what it was, and nothing that it depends on seems to have
                changed; it is forgotten.
        """
        encoder = self._load()
        if Facts.of(encoder) != self._facts:
            self._path.unlink(missing_ok=True)
            raise StoreError(
                f"{self.name} is not the model it was when it was loaded last, though neither its"
                " checkpoint nor its code changed: what it is depends on something else; run again",
                "store_stale",
            )
        return encoder

    @property
    def name(self) -> str:
        """The name of the model's class."""
        return self._facts.name

    @property
    def scores_by_cosine(self) -> bool:
        """Whether its score is the cosine."""
        return self._facts.scores_by_cosine

    @property
    def on_device(self) -> bool:  # type: ignore[override]
        """Whether it offers preprocessing on its device; loads it."""
        return self.loaded.on_device

    def preprocess(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """As the model does."""
        return self.loaded.preprocess(images)

    def preprocess_on_device(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """As the model does."""
        return self.loaded.preprocess_on_device(images, sizes)

    def computing_in(self, precision: str) -> AbstractContextManager[object]:
        """As the model does."""
        return self.loaded.computing_in(precision)

    def encode_images(self, pixels: Tensor) -> Tensor:
        """As the model does."""
        return self.loaded.encode_images(pixels)

    def encode_reports(self, texts: Sequence[str]) -> Tensor:
        """As the model does."""
        return self.loaded.encode_reports(texts)

    def score(self, images: Tensor, reports: Tensor) -> Tensor:
        """As the model does."""
        return self.loaded.score(images, reports)


class _Loaded:
    """Loads a model and remembers it, anew where it is seen to depend on more than before."""

    def __init__(self, loading: Loading, store: Path, load: Callable[[], DualEncoder]) -> None:
        self._loading = loading
        self._store = store
        self._load = load
        self._began = 0.0
        self._read: set[Path] = set()
        self._encoder: DualEncoder | None = None
        self._known: tuple[frozenset[Path], str | None] | None = None

    def load(self) -> DualEncoder:
        self._began = time.time()
        with opened() as self._read:
            self._encoder = self._load()
        return self._encoder

    def identity(self) -> str | None:
        """As in a :class:`Note`, by what is known by now; None where there is none."""
        if self._encoder is None:
            return None
        paths = frozenset(paths_of(self._loading, self._encoder, self._read))
        if self._known is None or self._known[0] != paths:
            own = (self._loading, self._encoder, self._store)
            self._known = paths, remember(*own, began=self._began, read=self._read)
        return self._known[1]


def load_or_recall(
    loading: Loading, store: Path, device: str, load: Callable[[], DualEncoder]
) -> tuple[DualEncoder, Identity]:
    """A model as it was when it was loaded last, if it is the same still; else loaded.

    Args:
        loading: How it is loaded.
        store: The store's folder.
        device: Where it is to run.
        load: Loads it.

    Returns:
        The model, and what gives its identity as in a :class:`Note`: another one once it has
        imported more than when it was loaded, and None where it has none.

    Raises:
        GateError: It cannot be loaded.
        StoreError: What is kept of it cannot be read or written.
    """
    note, made = recall(loading, store), _Loaded(loading, store, load)
    if note is not None:
        late = RememberedEncoder(note.facts, device, made.load, loading.at(store))
        return late, lambda: made.identity() if late.is_loaded else note.identity
    encoder = made.load()
    made.identity()
    return encoder, made.identity
