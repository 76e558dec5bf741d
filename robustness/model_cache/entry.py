"""Cache entries: the metadata of a model, and the hashes of the files that it depends on."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache, cached_property
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

from robustness._util.files import write_whole
from robustness.encoder import WEIGHTS_FOLDER_VARIABLE, DualEncoder, TextPolicy
from robustness.errors import StoreError

SCHEMA = "model-cache-2"
"""Version of the entry format; bump it if the format or its meaning changes."""

MIN_AGE_S = 2.0
"""Minimum age of a file before its times are trusted.

Two writes within one tick of the file system's clock have the same modification time.
"""


@dataclass(frozen=True)
class ModelRequest:
    """A request to load a model.

    Attributes:
        loader: Importable name, ``package.module:function``.
        weights: Checkpoint path, or None for the loader's default.
        options: Options of the loader.
    """

    loader: str
    weights: Path | None
    options: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        """SHA-256 of the request, the working directory and all package versions."""
        request = [self.loader, self.weights, {k: repr(v) for k, v in self.options.items()}]
        folders = [Path.cwd(), os.environ.get(WEIGHTS_FOLDER_VARIABLE), self.source]
        return _hash([request, folders, SCHEMA, sys.version, _installed_packages()])

    @cached_property
    def source(self) -> Path:
        """Folder of the loader's top-level package, or its file if it has no package."""
        name = self.loader.partition(":")[0].partition(".")[0]
        spec = importlib.util.find_spec(name) if name else None
        if spec is None:
            return Path(name)
        return Path([*(spec.submodule_search_locations or ()), spec.origin or name][0])

    def entry_path(self, store: Path) -> Path:
        """Return the path of the cache entry in a store's folder."""
        return store / "models" / f"{self.key}.json"

    def named_paths(self) -> Iterator[Path]:
        """Yield the checkpoint, and the paths in option values, also as ``family:FOLDER``."""
        for value in (self.weights, *self.options.values()):
            text = str(value) if isinstance(value, str | Path) else ""
            while text:
                if Path(text).exists():
                    yield Path(text)
                text = text.partition(":")[2]


class FileHash(NamedTuple):
    """SHA-256 of a file, and its size and times (ns) when it was hashed."""

    sha256: str
    size: int
    mtime: int
    ctime: int

    @classmethod
    def of(cls, file: str, stored: FileHash | None = None) -> FileHash | None:
        """Hash a file, or return ``stored`` if size and times are equal; None if unreadable."""
        try:
            with Path(file).open("rb") as stream:
                status = os.fstat(stream.fileno())
                stat = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
                if stored is not None and stored[1:] == stat:
                    return stored
                return cls(hashlib.file_digest(stream, "sha256").hexdigest(), *stat)
        except OSError:
            return None


@dataclass(frozen=True, slots=True)
class Metadata:
    """Attributes of a :class:`~robustness.encoder.DualEncoder` that are needed without it."""

    name: str
    fingerprint: str
    text_policy: TextPolicy
    embedding_dim: int
    details: dict[str, str]
    checkpoint: Path | None
    scores_by_cosine: bool

    @classmethod
    def of(cls, encoder: DualEncoder) -> Metadata:
        """Return the metadata of a loaded encoder."""
        return cls(**{field.name: getattr(encoder, field.name) for field in fields(cls)})


@dataclass(frozen=True, slots=True)
class Entry:
    """A cache entry.

    Attributes:
        metadata: Metadata of the model.
        inputs: Files and folders that the model was read from.
        files: Hash of each of these files, of each file in these folders, and of each imported
            module that is not part of an installed library, by path.
    """

    metadata: Metadata
    inputs: list[str]
    files: dict[str, FileHash]

    @classmethod
    def of(
        cls,
        request: ModelRequest,
        encoder: DualEncoder,
        started: float,
        previous: Entry | None = None,
    ) -> Entry | None:
        """Return the entry of a model whose loading began at ``started`` (s since the epoch).

        Hashes of ``previous`` are reused for unchanged files.

        Returns:
            None if the model is not cacheable: it came from elsewhere than a named path,
            ROBUSTNESS_WEIGHTS or the loader's package (a hub may serve another file tomorrow),
            or a file is missing or was younger than :data:`MIN_AGE_S` at ``started``.
        """
        origins = [path for path in (encoder.folder, encoder.checkpoint) if path is not None]
        named = {*request.named_paths(), request.source}
        folders = [str(request.source), *filter(None, [os.environ.get(WEIGHTS_FOLDER_VARIABLE)])]
        is_local = [
            path in named or any(path.is_relative_to(folder) for folder in folders)
            for path in origins
        ]
        if not origins or (request.weights is None and not any(is_local)):
            return None
        inputs = sorted({str(path) for path in (*origins, *named)})
        stored = {} if previous is None else previous.files
        files: dict[str, FileHash] = {}
        for name in sorted({*_files_in(inputs), *_imported_modules()}):
            hashed = FileHash.of(name, stored.get(name))
            if hashed is None or max(hashed.mtime, hashed.ctime) > (started - MIN_AGE_S) * 1e9:
                return None
            files[name] = hashed
        return cls(Metadata.of(encoder), inputs, files)

    def is_current(self) -> bool:
        """Return True if no file was changed, added or removed."""
        if not _files_in(self.inputs) <= self.files.keys():
            return False
        hashes = [(FileHash.of(name, stored), stored) for name, stored in self.files.items()]
        return all(now is not None and now.sha256 == stored.sha256 for now, stored in hashes)

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
            metadata, checkpoint = content["metadata"], content["metadata"]["checkpoint"]
            metadata["checkpoint"] = None if checkpoint is None else Path(checkpoint)
            policy = metadata["text_policy"]
            metadata["text_policy"] = TextPolicy(**policy | {"sections": tuple(policy["sections"])})
            files = {name: FileHash(*values) for name, values in content["files"].items()}
            return cls(Metadata(**metadata), content["inputs"], files)
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
            write_whole(path, json.dumps(record, default=str).encode())
        except OSError as error:
            raise StoreError(
                f"{path} cannot be written: {error.strerror}; free disk space or use another"
                " folder with --robustness-store"
            ) from error


def _files_in(inputs: Iterable[str]) -> set[str]:
    """Return the files, and those in folders and below, without Python's byte code."""
    paths = [path for name in inputs for path in (Path(name), *Path(name).rglob("*"))]
    return {str(path) for path in paths if not path.is_dir() and "__pycache__" not in path.parts}


def _imported_modules() -> Iterator[str]:
    """Yield the files of imported modules that are not part of an installed library."""
    libraries = tuple(
        sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib")
    )
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        # Modules such as torch.ops have a relative path that does not exist.
        if file and Path(file).is_absolute() and not file.startswith(libraries):
            yield file


@cache
def _installed_packages() -> list[str]:
    # Each access to .metadata parses the file again.
    packages = [distribution.metadata for distribution in distributions()]
    return sorted(f"{metadata['Name']} {metadata['Version']}" for metadata in packages)


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
