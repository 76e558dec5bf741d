"""Unpacking an archive that nobody vouches for.

Nothing is written but plain files under names that the collection has, into a folder that
was empty; so no member can overwrite, lead elsewhere, or be more than data. What an archive
says of owners, permissions and times is ignored.
"""

from __future__ import annotations

import gzip
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from robustness.errors import FetchError
from robustness.fetch._archives import Archive
from robustness.fetch._console import Console, amount

BLOCK = 1 << 16
LONGEST_HEADER = 1 << 20
"""Bytes tarfile may take at once: it holds an extended header in memory, however long."""

LONGEST_END = 1 << 24
"""Bytes after the last member, of nothing but padding."""

ZEROS = bytes(tarfile.BLOCKSIZE)

DAMAGE = (
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    ValueError,
    OverflowError,
    RecursionError,
)
"""What gzip and tarfile raise on bytes that are no archive."""


class BadArchiveError(Exception):
    """What is wrong with an archive; the caller knows which it is."""


@dataclass(slots=True)
class Unpacked:
    """What an archive held.

    Attributes:
        sizes: Bytes of each file, by its path below the folder.
        left_out: The names of harmless files that are none of the collection's.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def unpack(path: Path, archive: Archive, into: Path, console: Console) -> Unpacked:
    """Unpacks an archive to its end, and sees that it has one.

    Args:
        path: The archive's file.
        archive: What it is, and its limits.
        into: A folder that is there and empty.
        console: Where a bar is drawn.

    Returns:
        The files that were written, and what was left out.

    Raises:
        BadArchiveError: It is damaged, too large, or holds what may not be unpacked; some
            files may be in ``into``.
        OSError: A file cannot be read or written.
    """
    if not hasattr(tarfile, "data_filter"):
        raise FetchError(
            f"Python {sys.version.split()[0]} cannot unpack archives safely; use 3.11.4 or later"
        )
    total = path.stat().st_size
    with (
        path.open("rb") as file,
        console.bar(f"unpacking {path.name}", total) as show,
        _Bounded(fileobj=file, mode="rb") as stream,
    ):
        unpacked = _members(stream, archive, into, lambda: show(file.tell()))
    if not unpacked.sizes:
        raise BadArchiveError(f"it holds none of the {archive.kind} of the collection")
    return unpacked


class _Bounded(gzip.GzipFile):
    """A gzip stream that gives only so much at a time, and remembers what it gave last."""

    last = b""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= LONGEST_HEADER:
            raise BadArchiveError(f"it has a header of more than {amount(LONGEST_HEADER)}")
        self.last = super().read(size)
        return self.last


def _members(
    stream: _Bounded, archive: Archive, into: Path, advance: Callable[[], None]
) -> Unpacked:
    found = Unpacked()
    folders = set[Path]()
    members = written = 0
    with _damage():
        tar = tarfile.TarFile(fileobj=stream, errorlevel=2)
    while (member := _next(tar)) is not None:
        members += 1
        written += member.size
        _check(member, archive, into)
        if members > archive.members:
            raise BadArchiveError(f"it has more than {archive.members} members")
        if written > archive.unpacked_bytes:
            raise BadArchiveError(f"it unpacks to more than {amount(archive.unpacked_bytes)}")
        if member.isdir():
            continue
        name = _name(member, archive)
        if name is None:
            found.left_out.append(member.name)
            continue
        if name in found.sizes:
            raise BadArchiveError(f"it holds {name!r} twice")
        target = into / name
        if target.parent not in folders:
            target.parent.mkdir(exist_ok=True)
            folders.add(target.parent)
        with target.open("xb") as file:
            for block in _content(tar, member):
                file.write(block)
        found.sizes[name] = member.size
        advance()
    _check_end(stream)
    return found


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadArchiveError(reason) from error


def _next(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    with _damage():
        return tar.next()


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    left = member.size
    with _damage():
        source = tar.extractfile(member)
    while left and source is not None:
        with _damage():
            block = source.read(min(left, BLOCK))
        if not block:
            raise BadArchiveError(f"it ends within {member.name!r}")
        left -= len(block)
        yield block


def _check(member: tarfile.TarInfo, archive: Archive, into: Path) -> None:
    """Sees that a member is one that may be unpacked, whatever it is called."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or ":" in member.name:
        raise BadArchiveError(f"member {member.name!r} leads out of the folder")
    if not (member.isfile() or member.isdir()) or member.issparse():
        raise BadArchiveError(f"member {member.name!r} is neither a plain file nor a folder")
    if not 0 <= member.size <= archive.file_bytes:
        raise BadArchiveError(
            f"member {member.name!r} has {member.size} bytes; {archive.kind} of this collection"
            f" have {amount(archive.file_bytes)} at most"
        )
    with _damage():
        tarfile.data_filter(member, str(into))


def _name(member: tarfile.TarInfo, archive: Archive) -> str | None:
    found = archive.pattern.fullmatch(member.name.removeprefix("./"))
    return found["file"] if found else None


def _check_end(stream: _Bounded) -> None:
    """Sees that tarfile stopped at an end: it takes a header it cannot read for one, too."""
    if stream.last not in {ZEROS, b""}:
        raise BadArchiveError("it has a header that cannot be read")
    left = LONGEST_END
    # To the end of the gzip stream, where its checksum stands.
    with _damage():
        while block := stream.read(BLOCK):
            left -= len(block)
            if left < 0:
                raise BadArchiveError("it goes on after its end")
