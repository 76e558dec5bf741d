"""What is known of a model without loading it: what it was when it was loaded last.

A run that finds every embedding in the store needs of a model its fingerprint, its text
policy and the like. They are kept beside the store, with the stamps of all the files they
may depend on: the checkpoint, files that options name, the loader's package, and every
module that is no installed library's. Where one of them changed, the model is loaded.

What a hub gives shows only when it is asked, so a model is remembered only where its
checkpoint was named, or lies in ROBUSTNESS_WEIGHTS or in the loader's own package.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustness.encoder import DualEncoder, TextPolicy
from robustness.errors import StoreError
from robustness.files import write_whole
from robustness.stamps import Stamps

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = "remembered-1"
"""Changes when what is kept has another form, or other meaning, than before."""

FOLDER_VARIABLE = "ROBUSTNESS_WEIGHTS"
"""Names a folder of checkpoints, where loaders look for their own."""


@dataclass(frozen=True)
class Loading:
    """How a model is loaded.

    Attributes:
        loader: Its importable name, ``package.module:function``.
        weights: The checkpoint, where one is named.
        options: The loader's options.
    """

    loader: str
    weights: Path | None
    options: Mapping[str, Any]

    @cached_property
    def name(self) -> str:
        """What a model depends on beside the content of files, hashed."""
        parts = {
            "schema": SCHEMA,
            "loader": [self.loader, str(_origin(self.loader))],
            "weights": None if self.weights is None else str(self.weights),
            "options": {key: repr(value) for key, value in self.options.items()},
            "folders": [str(Path.cwd()), os.environ.get(FOLDER_VARIABLE)],
            "packages": [sys.version, *_installed()],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def at(self, store: Path) -> Path:
        """Where the model is remembered, in a store's folder."""
        return store / "models" / f"{self.name}.json"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a model says of itself; see :class:`~robustness.encoder.DualEncoder`."""

    name: str
    fingerprint: str
    text_policy: TextPolicy
    embedding_dim: int
    details: dict[str, str]
    checkpoint: str
    scores_by_cosine: bool

    @classmethod
    def of(cls, encoder: DualEncoder) -> Facts:
        """The facts of a model that is loaded and has a checkpoint."""
        return cls(
            encoder.name,
            encoder.fingerprint,
            encoder.text_policy,
            encoder.embedding_dim,
            encoder.details,
            str(encoder.checkpoint),
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
        self.checkpoint = Path(facts.checkpoint)
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
    if encoder.checkpoint is None or not _known(loading, encoder.checkpoint):
        return None
    stamps = Stamps.of(_paths(loading, encoder.checkpoint), before=began)
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


# --- what a model depends on -----------------------------------------------------------


def _origin(loader: str) -> Path | None:
    """The file of the loader's module, or the folder of its outermost package."""
    package = loader.partition(":")[0].partition(".")[0]
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ())
    return Path(places[0] if places else spec.origin or package)


def _installed() -> list[str]:
    """The libraries of this environment, with their versions."""
    return sorted(f"{found.name} {found.version}" for found in distributions())


def _known(loading: Loading, checkpoint: Path) -> bool:
    """Whether the same request cannot lead to another checkpoint unseen."""
    if loading.weights is not None:
        return True
    folders = [os.environ.get(FOLDER_VARIABLE), _origin(loading.loader)]
    return any(folder and checkpoint.is_relative_to(folder) for folder in folders)


def _paths(loading: Loading, checkpoint: Path) -> Iterator[Path]:
    """The files and folders that a model depends on."""
    yield checkpoint
    origin = _origin(loading.loader)
    if origin is not None:
        yield origin
    yield from _named(loading)
    yield from _modules()


def _named(loading: Loading) -> Iterator[Path]:
    """What options name that is a path."""
    for value in loading.options.values():
        if isinstance(value, str | Path) and value and Path(value).exists():
            yield Path(value)


def _modules() -> Iterable[Path]:
    """The files of the modules that are loaded and no installed library's."""
    installed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    for module in list(sys.modules.values()):
        path = Path(getattr(module, "__file__", None) or "")
        # torch.ops and the like name files that are none.
        if path.is_absolute() and not any(path.is_relative_to(folder) for folder in installed):
            yield path
