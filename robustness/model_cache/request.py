"""Requests for models: the cache key, and the files that a model depends on."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from robustness.encoder import DualEncoder

SCHEMA = "model-cache-1"
"""Version of the entry format; bump it if the format or its meaning changes."""

WEIGHTS_FOLDER_VARIABLE = "ROBUSTNESS_WEIGHTS"
"""Environment variable that names the folder where loaders look for checkpoints."""


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
        parts = {
            "schema": SCHEMA,
            "loader": [self.loader, *map(str, self._sources())],
            "weights": None if self.weights is None else str(self.weights),
            "options": {key: repr(value) for key, value in self.options.items()},
            "folder": str(Path.cwd()),
            "weights_folder": os.environ.get(WEIGHTS_FOLDER_VARIABLE),
            "packages": [sys.version, *_installed_packages()],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def entry_path(self, store: Path) -> Path:
        """Return the path of the cache entry in a store's folder."""
        return store / "models" / f"{self.key}.json"

    def is_cacheable(self, encoder: DualEncoder) -> bool:
        """Return True if the same request always leads to the same checkpoint or folder.

        A hub can serve another file tomorrow. A named path, ``ROBUSTNESS_WEIGHTS`` and the
        loader's package cannot change unnoticed.
        """
        origins = _origins(encoder)
        if self.weights is not None:
            return bool(origins)
        named = set(self._option_paths())
        folders = [os.environ.get(WEIGHTS_FOLDER_VARIABLE), *self._sources()]
        return any(
            origin in named or any(folder and origin.is_relative_to(folder) for folder in folders)
            for origin in origins
        )

    def input_paths(self, encoder: DualEncoder) -> Iterator[Path]:
        """Yield the files and folders that determine a loaded model.

        These are its checkpoint and folder, the paths in ``weights`` and the options, the
        loader's package, and each imported module that is not part of an installed library.
        """
        yield from _origins(encoder)
        if self.weights is not None:
            yield self.weights
        yield from self._option_paths()
        yield from self._sources()
        libraries = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
        for module in list(sys.modules.values()):
            path = Path(getattr(module, "__file__", None) or "")
            # Modules such as torch.ops have a relative path that does not exist.
            if path.is_absolute() and not any(map(path.is_relative_to, libraries)):
                yield path

    def _option_paths(self) -> Iterator[Path]:
        """Yield the paths in option values, also as ``family:FOLDER``."""
        for value in self.options.values():
            text = str(value) if isinstance(value, str | Path) else ""
            while text:
                if Path(text).exists():
                    yield Path(text)
                text = text.partition(":")[2]

    def _sources(self) -> list[Path]:
        """Return the folders of the loader's packages, or its file if it has no package."""
        parts = self.loader.partition(":")[0].split(".")
        sources: list[Path] = []
        for end in range(1, max(2, len(parts))):
            try:
                spec = importlib.util.find_spec(".".join(parts[:end]))
            except (ImportError, ValueError):
                break
            if spec is None:
                break
            folders = list(spec.submodule_search_locations or ())
            sources.append(Path(folders[0] if folders else spec.origin or parts[0]))
        return sources


def _origins(encoder: DualEncoder) -> list[Path]:
    return [path for path in (encoder.folder, encoder.checkpoint) if path is not None]


def _installed_packages() -> list[str]:
    # Each access to .metadata parses the file again.
    packages = [distribution.metadata for distribution in distributions()]
    return sorted(f"{metadata['Name']} {metadata['Version']}" for metadata in packages)
