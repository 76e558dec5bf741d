"""Which files are read while something is made, as the interpreter is told of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR
_NO_FILES = ("/dev/", "/proc/", "/sys/")
"""Where Linux shows what is no file of anybody's."""

_gathering: list[set[Path]] = []


@contextmanager
def opened() -> Iterator[set[Path]]:
    """Gathers the files that this process opens to read while it lasts.

    Those that a library opens without Python are not seen, and what Python compiled is left out.
    """
    _listen()
    found: set[Path] = set()
    _gathering.append(found)
    try:
        yield found
    finally:
        _gathering.remove(found)


@cache
def _listen() -> None:
    # An audit hook stays as long as the process; it is added once.
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not _gathering:
        return
    name, _, flags = arguments
    if isinstance(name, int) or (flags or 0) & _WRITING:
        return
    path = Path(os.path.abspath(os.fsdecode(name)))  # noqa: PTH100 - a link stays a link
    if path.suffix != ".pyc" and not str(path).startswith(_NO_FILES):
        for found in _gathering:
            found.add(path)
