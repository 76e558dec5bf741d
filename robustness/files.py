"""Files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, *parts: bytes) -> None:
    """Writes a file so that any reader, at any time, finds all of it or none.

    Args:
        path: The file; its folder is made where it is missing.
        *parts: Its content, in pieces.

    Raises:
        OSError: It cannot be written; what was there before is there still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def shortest(path: Path) -> Path:
    """The path as a person in this folder would write it."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
