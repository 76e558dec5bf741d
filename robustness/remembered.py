"""What is known of a model without loading it: what it was when it was loaded last.

A run that finds every embedding in the store needs of a model its fingerprint, its text
policy and the like. They are kept beside the store, with the stamps of all the files they
may depend on: the checkpoint, or the folder that holds the model, files that options name, the
loader's package, and every module that is no installed library's. Where one of them changed, the
model is loaded.

What a hub gives shows only when it is asked, so a model is remembered only where its
checkpoint or folder was named, or lies in ROBUSTNESS_WEIGHTS or in the loader's own package.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustness.encoder import DualEncoder, TextPolicy
from robustness.errors import StoreError
from robustness.files import write_whole
from robustness.loading import Loading
from robustness.stamps import Stamps

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Facts:
    """What a model says of itself; see :class:`~robustness.encoder.DualEncoder`."""

    name: str
    fingerprint: str
    text_policy: TextPolicy
    embedding_dim: int
    details: dict[str, str]
    checkpoint: str | None
    scores_by_cosine: bool

    @classmethod
    def of(cls, encoder: DualEncoder) -> Facts:
        """The facts of a model that is loaded."""
        return cls(
            encoder.name,
            encoder.fingerprint,
            encoder.text_policy,
            encoder.embedding_dim,
            encoder.details,
            None if encoder.checkpoint is None else str(encoder.checkpoint),
            encoder.scores_by_cosine,
        )

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Facts:
        """The facts in a record."""
        policy = record["text_policy"]
        return cls(
            **{
                **record,
                "text_policy": TextPolicy(**{**policy, "sections": tuple(policy["sections"])}),
            }
        )


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


@dataclass(frozen=True, slots=True)
class Note:
    """What is remembered of a model.

    Attributes:
        facts: What it is.
        identity: Tells it, its code and weights, from any other.
    """

    facts: Facts
    identity: str


def load_or_recall(
    loading: Loading, store: Path, device: str, load: Callable[[], DualEncoder]
) -> tuple[DualEncoder, str | None]:
    """A model as it was when it was loaded last, if it is the same still; else loaded.

    Args:
        loading: How it is loaded.
        store: The store's folder.
        device: Where it is to run.
        load: Loads it.

    Returns:
        The model, and its identity as in a :class:`Note`; None where it has none.

    Raises:
        GateError: It cannot be loaded.
        StoreError: What is kept of it cannot be read or written.
    """
    note = recall(loading, store)
    if note is not None:
        return RememberedEncoder(note.facts, device, load, loading.at(store)), note.identity
    began = time.time()
    encoder = load()
    return encoder, remember(loading, encoder, store, began=began)


def recall(loading: Loading, store: Path) -> Note | None:
    """What a model was, if nothing that it depends on has changed since.

    Args:
        loading: How it would be loaded.
        store: The store's folder.

    Returns:
        None where it is to be loaded.

    Raises:
        StoreError: What is kept cannot be read.
    """
    try:
        checksum, _, text = loading.at(store).read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{loading.at(store)} cannot be read: {error.strerror}") from error
    if checksum != _checksum(text):
        return None
    content = json.loads(text)
    held = Stamps(content["files"], content["folders"]).hold()
    return Note(Facts.read(content["facts"]), checksum.decode()) if held else None


def remember(loading: Loading, encoder: DualEncoder, store: Path, *, began: float) -> str | None:
    """Keeps what a model is, where it can be told later that it is still the same.

    Args:
        loading: How it was loaded.
        encoder: The model.
        store: The store's folder.
        began: When loading began, in seconds since the epoch.

    Returns:
        Its identity, as in a :class:`Note`; None where it is not kept.

    Raises:
        StoreError: It cannot be written.
    """
    places = [place for place in (encoder.folder, encoder.checkpoint) if place is not None]
    if not any(map(loading.leads_to, places)):
        return None
    stamps = Stamps.of(loading.paths(*places), before=began)
    if stamps is None:
        return None
    content = {"facts": asdict(Facts.of(encoder)), **asdict(stamps)}
    text = json.dumps(content).encode()
    checksum, path = _checksum(text), loading.at(store)
    try:
        write_whole(path, checksum, b"\n", text)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror}; free some room or name another folder"
            " with --robustness-store"
        ) from error
    return checksum.decode()


def _checksum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()
