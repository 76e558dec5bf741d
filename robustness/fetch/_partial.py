"""A file on its way: ``NAME.part``, and ``NAME.part.json`` that says what it is a part of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from robustness.files import write_whole


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a file on a server.

    Attributes:
        url: Its address.
        validator: Its ETag or the time of its last change; None where nothing tells it from
            another version.
        total: Bytes it has; None where the server does not say.
    """

    url: str
    validator: str | None
    total: int | None


class Partial:
    """The part of a file that is there.

    Args:
        path: What the file is called once it is whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self._note = path.with_name(path.name + ".part.json")

    def size(self) -> int:
        """Bytes that are there."""
        try:
            return self.part.stat().st_size
        except FileNotFoundError:
            return 0

    def version(self) -> Version | None:
        """What it is a part of; None where that is not known."""
        try:
            found = json.loads(self._note.read_text(encoding="utf-8"))
            version = Version(**found)
        except (FileNotFoundError, ValueError, TypeError):
            return None
        texts = isinstance(version.url, str) and isinstance(version.validator, str | None)
        return version if texts and isinstance(version.total, int | None) else None

    def discard(self) -> None:
        """Throws the part away, and before it what it is a part of."""
        self._note.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)

    def begin(self, version: Version) -> None:
        """Starts over with another version."""
        # In this order no moment leaves old bytes under a new name.
        self.discard()
        write_whole(self._note, json.dumps(asdict(version)).encode())

    @contextmanager
    def append(self) -> Iterator[BinaryIO]:
        """The part, open for what comes next."""
        with self.part.open("ab") as file:
            yield file

    def finish(self) -> None:
        """Gives the part the name of the whole."""
        self.part.replace(self.path)
        self._note.unlink(missing_ok=True)
