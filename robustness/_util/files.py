"""Atomic file writes, and paths for messages."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write_whole(path: Path, *parts: bytes) -> None:
    """Write a file atomically: a reader finds the old content or all of the new one.

    Args:
        path: The file. A missing folder is created.
        *parts: Content, in pieces.

    Raises:
        OSError: The file cannot be written; its previous content is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.partial")
    with _open_locked(temporary) as file:
        try:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            # Before the lock is released: another process may start to write it right after.
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def _open_locked(temporary: Path) -> Iterator[BinaryIO]:
    """Open a temporary file, empty, with an exclusive lock.

    Its name is fixed, so that the next process overwrites the file of a killed one.
    """
    while True:
        with temporary.open("ab") as file:
            _lock(file)
            # The previous owner of the lock may have renamed or removed the file.
            if _is_open_file(temporary, file):
                file.truncate(0)
                yield file
                return


def _is_open_file(path: Path, file: BinaryIO) -> bool:
    """Return True if a path names the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _lock(file: BinaryIO) -> None:
    """Lock a file exclusively, waiting for other processes; closing it releases the lock."""
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)


def shortest(path: Path) -> Path:
    """Return the path relative to the working directory if it is inside, else unchanged."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
