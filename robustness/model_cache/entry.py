"""Cache entries: the metadata of a model, and the hashes of the files that it depends on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from robustness._util.files import write_whole
from robustness.encoder import DualEncoder, TextPolicy
from robustness.errors import StoreError
from robustness.model_cache.request import ModelRequest

MIN_AGE_S = 2.0
"""Minimum age of a file before its timestamps are trusted.

Two writes within one tick of the file system's clock have the same modification time.
"""

MAX_FILES = 4096
"""Maximum number of files in a folder; a model with a larger folder is not cached."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """Attributes of a :class:`~robustness.encoder.DualEncoder` that are needed without it."""

    name: str
    fingerprint: str
    text_policy: TextPolicy
    embedding_dim: int
    details: dict[str, str]
    checkpoint: str | None
    scores_by_cosine: bool

    @classmethod
    def of(cls, encoder: DualEncoder) -> Metadata:
        """Return the metadata of a loaded encoder."""
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
    def from_json(cls, record: Mapping[str, Any]) -> Metadata:
        """Return the metadata in a JSON object."""
        policy = record["text_policy"]
        policy = TextPolicy(**{**policy, "sections": tuple(policy["sections"])})
        return cls(**{**record, "text_policy": policy})


class FileHash(NamedTuple):
    """SHA-256 of a file, and its stat when it was hashed (times in ns)."""

    sha256: str
    inode: int
    size: int
    mtime: int
    ctime: int

    @classmethod
    def of(cls, file: str, known: FileHash | None = None) -> FileHash | None:
        """Hash a file, or return ``known`` if its stat is unchanged; None if unreadable."""
        try:
            stat = _stat(file)
            if known is not None and known[1:] == stat:
                return known
            with Path(file).open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return cls(digest, *stat) if _stat(file) == stat else None
        except OSError:
            return None

    def is_settled(self, before: float) -> bool:
        """Return True if the file was at least :data:`MIN_AGE_S` old at a time (s)."""
        return max(self.mtime, self.ctime) <= (before - MIN_AGE_S) * 1e9


def _stat(file: str) -> tuple[int, int, int, int]:
    status = Path(file).stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@dataclass(frozen=True, slots=True)
class Entry:
    """A cache entry.

    Attributes:
        metadata: Metadata of the model.
        files: Hash of each file that the model depends on, by path.
        folders: Relative paths of the files in each folder, to detect added and removed files.
    """

    metadata: Metadata
    files: dict[str, FileHash]
    folders: dict[str, list[str]]

    @classmethod
    def of(
        cls,
        request: ModelRequest,
        encoder: DualEncoder,
        *,
        started: float,
        previous: Entry | None = None,
    ) -> Entry | None:
        """Return the entry of a loaded model.

        Args:
            request: Request for the model.
            encoder: The model.
            started: Time when loading began, in seconds since the epoch.
            previous: Entry whose hashes are reused for unchanged files.

        Returns:
            None if the model is not cacheable: a hub may serve another one for the same request,
            a file is missing or younger than :data:`MIN_AGE_S` at ``started``, or a folder has
            more than :data:`MAX_FILES` files.
        """
        if not request.is_cacheable(encoder):
            return None
        paths = set(request.input_paths(encoder))
        folders = {str(path): _file_names(path) for path in paths if path.is_dir()}
        if any(len(names) > MAX_FILES for names in folders.values()):
            return None
        names = {str(path) for path in paths if str(path) not in folders}
        names |= {str(Path(folder) / name) for folder in folders for name in folders[folder]}
        known = {} if previous is None else previous.files
        files: dict[str, FileHash] = {}
        for name in sorted(names):
            hashed = FileHash.of(name, known.get(name))
            if hashed is None or not hashed.is_settled(started):
                return None
            files[name] = hashed
        return cls(Metadata.of(encoder), files, folders)

    def current(self) -> Entry | None:
        """Return the entry with up-to-date file times, or None if any file changed."""
        if any(_file_names(Path(folder)) != names for folder, names in self.folders.items()):
            return None
        now, files = time.time(), dict(self.files)
        for name, known in self.files.items():
            hashed = FileHash.of(name, known)
            if hashed is None or hashed.sha256 != known.sha256:
                return None
            if hashed.is_settled(now):
                files[name] = hashed
        return replace(self, files=files)

    def identity(self, request: ModelRequest) -> str:
        """Return a SHA-256 of the request, the metadata and the content of the files."""
        digests = {name: hashed.sha256 for name, hashed in self.files.items()}
        return _hash([request.key, asdict(self.metadata), digests])

    @classmethod
    def read(cls, path: Path) -> Entry | None:
        """Read an entry; None if it is missing or damaged.

        Raises:
            StoreError: The file exists and cannot be read.
        """
        try:
            record = json.loads(path.read_bytes())
            content = record["content"]
            if record["checksum"] != _hash(content):
                return None
            files = {name: FileHash(*fields) for name, fields in content["files"].items()}
            return cls(Metadata.from_json(content["metadata"]), files, content["folders"])
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError):
            return None

    def write(self, path: Path) -> None:
        """Write the entry atomically.

        Raises:
            StoreError: The file cannot be written.
        """
        content = asdict(self)
        record = {"checksum": _hash(content), "content": content}
        try:
            write_whole(path, json.dumps(record).encode())
        except OSError as error:
            raise StoreError(
                f"{path} cannot be written: {error.strerror}; free disk space or use another"
                " folder with --robustness-store"
            ) from error


def _file_names(folder: Path) -> list[str]:
    """Return the files in a folder and below, without Python's byte code."""
    names: list[str] = []
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            names.append(path.relative_to(folder).as_posix())
            if len(names) > MAX_FILES:
                break
    return sorted(names)


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
