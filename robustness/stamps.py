"""Whether files are still the same, without reading them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SETTLED = 2.0
"""Seconds a file must have lain unchanged: what is written twice within a tick of a file
system's clock has one time."""

MOST_FILES = 4096
"""Files of a folder at most; a larger one is not looked through at every run."""

Stamp = list[int]
"""A file's inode and size, and when it, and what is known of it, changed last."""


@dataclass(frozen=True, slots=True)
class Stamps:
    """The files that something was made from.

    Attributes:
        files: Each file's stamp, by its path.
        folders: The files below each folder, by their paths in it: one may be added, too.
    """

    files: dict[str, Stamp]
    folders: dict[str, list[str]]

    @classmethod
    def of(cls, paths: Iterable[Path], *, before: float) -> Stamps | None:
        """The stamps of files, and of all the files in folders.

        Args:
            paths: Files and folders.
            before: When they were read first, in seconds since the epoch.

        Returns:
            None where a change might not show: a file is missing, or was changed later than
            :data:`SETTLED` seconds before it was read, or a folder has more than
            :data:`MOST_FILES`.
        """
        folders, files = {}, set()
        for path in paths:
            if path.is_dir():
                folders[str(path)] = names = _names(path)
                if len(names) > MOST_FILES:
                    return None
                files |= {str(path / name) for name in names}
            else:
                files.add(str(path))
        stamps = {name: _stamp(Path(name)) for name in sorted(files)}
        known = {name: found for name, found in stamps.items() if found is not None}
        newest = max((max(found[2:]) for found in known.values()), default=0)
        if len(known) < len(stamps) or newest > (before - SETTLED) * 1e9:
            return None
        return cls(known, folders)

    def hold(self) -> bool:
        """Whether all of them are as they were."""
        return all(_stamp(Path(name)) == found for name, found in self.files.items()) and all(
            _names(Path(folder)) == names for folder, names in self.folders.items()
        )


def _stamp(path: Path) -> Stamp | None:
    """What changes when a file does; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _names(folder: Path) -> list[str]:
    """The files below a folder, without what Python keeps there for itself."""
    found: list[str] = []
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            found.append(path.relative_to(folder).as_posix())
            if len(found) > MOST_FILES:
                break
    return sorted(found)
