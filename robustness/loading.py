"""How a model is loaded, and what it depends on that may change between two loadings."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

SCHEMA = "remembered-3"
"""Changes when what is kept has another form, or other meaning, than before."""

FOLDER_VARIABLE = "ROBUSTNESS_WEIGHTS"
"""Names a folder of checkpoints, where loaders look for their own."""

PASSING = re.compile(r"PYTEST_.*|_|SHLVL|PWD|OLDPWD|LINES|COLUMNS|TERM.*|COLORTERM|WINDOWID|SSH_.*")
"""Variables that tell of a terminal or of a run of pytest, by which no model is chosen."""


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
            "folder": str(Path.cwd()),
            # A loader may ask any of them which of its models is meant.
            "variables": {k: v for k, v in os.environ.items() if not PASSING.fullmatch(k)},
            "packages": [sys.version, *_installed()],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def at(self, store: Path) -> Path:
        """Where the model is remembered, in a store's folder."""
        return store / "models" / f"{self.name}.json"

    def leads_to(self, place: Path) -> bool:
        """Whether the same request cannot lead to another checkpoint, or folder, unseen."""
        if self.weights is not None or place in self._named():
            return True
        folders = [os.environ.get(FOLDER_VARIABLE), _origin(self.loader)]
        return any(folder and place.is_relative_to(folder) for folder in folders)

    def paths(self, *places: Path) -> Iterator[Path]:
        """The files and folders that the model depends on, what it was read from among them."""
        yield from places
        if self.weights is not None:
            yield self.weights
        origin = _origin(self.loader)
        if origin is not None:
            yield origin
        yield from self._named()
        yield from _modules()

    def _named(self) -> Iterator[Path]:
        """The files and folders that options name, also as ``family:FOLDER``."""
        for value in self.options.values():
            text = str(value) if isinstance(value, str | Path) else ""
            while text:
                if Path(text).exists():
                    yield Path(text)
                text = text.partition(":")[2]


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
    # A file is parsed at every look at it.
    known = [found.metadata for found in distributions()]
    return sorted(f"{facts['Name']} {facts['Version']}" for facts in known)


def _modules() -> Iterator[Path]:
    """The files of the modules that are loaded and no installed library's."""
    for module in list(sys.modules.values()):
        path = Path(getattr(module, "__file__", None) or "")
        # torch.ops and the like name files that are none.
        if path.is_absolute() and not is_installed(path):
            yield path


def is_installed(path: Path) -> bool:
    """Whether a file is a library's, which its version tells from another."""
    return any(path.is_relative_to(folder) for folder in _libraries())


@cache
def _libraries() -> list[Path]:
    return [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
