"""What is kept of a model beside the store: what it is, and the stamps of what it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robustness.encoder import DualEncoder, TextPolicy
from robustness.errors import StoreError
from robustness.files import write_whole
from robustness.loading import Loading, is_installed
from robustness.stamps import Stamps


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


@dataclass(frozen=True, slots=True)
class Note:
    """What is remembered of a model.

    Attributes:
        facts: What it is.
        identity: Tells it, its code and weights, from any other.
    """

    facts: Facts
    identity: str


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


def remember(
    loading: Loading,
    encoder: DualEncoder,
    store: Path,
    *,
    began: float,
    read: Collection[Path] = (),
) -> str | None:
    """Keeps what a model is, where it can be told later that it is still the same.

    Args:
        loading: How it was loaded.
        encoder: The model.
        store: The store's folder.
        began: When loading began, in seconds since the epoch.
        read: The files that were opened to load it.

    Returns:
        Its identity, as in a :class:`Note`; None where it is not kept.

    Raises:
        StoreError: It cannot be written.
    """
    if not any(map(loading.leads_to, _places(encoder))):
        return None
    stamps = Stamps.of(paths_of(loading, encoder, read), before=began)
    if stamps is None:
        return None
    content = {"loading": loading.name, "facts": asdict(Facts.of(encoder)), **asdict(stamps)}
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


def _places(encoder: DualEncoder) -> list[Path]:
    return [place for place in (encoder.folder, encoder.checkpoint) if place is not None]


def paths_of(loading: Loading, encoder: DualEncoder, read: Collection[Path]) -> Iterator[Path]:
    """The files and folders that a model depends on, by what is imported now.

    Args:
        loading: How it was loaded.
        encoder: The model.
        read: The files that were opened to load it.
    """
    yield from loading.paths(*_places(encoder))
    yield from (path for path in read if not is_installed(path))


def _checksum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()
