"""Files written whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write_whole(path: Path, *parts: bytes) -> None:
    """Writes a file so that any reader, at any time, finds all of it or none.

    Args:
        path: The file; its folder is made where it is missing.
        *parts: Its content, in pieces.

    Raises:
        OSError: It cannot be written; what was there before is there still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.partial")
    with _owned(temporary) as file:
        try:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            # While it is owned: another process may begin to write it right after.
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def _owned(temporary: Path) -> Iterator[BinaryIO]:
    """Opens a file that no other process writes, empty.

    Its name is always the same: what a killed process left is written over by the next one.
    """
    while True:
        with temporary.open("ab") as file:
            _lock(file)
            # Whoever held it may have given it its final name, or removed it.
            if _stands(temporary, file):
                file.truncate(0)
                yield file
                return


def _stands(path: Path, file: BinaryIO) -> bool:
    """Whether an open file is the one of that name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _lock(file: BinaryIO) -> None:
    """Waits until no other process holds the file; the lock ends with the file."""
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)


def shortest(path: Path) -> Path:
    """The path as a person in this folder would write it."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
