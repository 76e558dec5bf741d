"""Tar shards: the position of each member, and members grouped to samples."""

from __future__ import annotations

import math
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from glob import glob
from itertools import islice
from pathlib import Path
from typing import Any

from robustness.errors import EvaluationSetError, UsageError
from robustness.evalset import _spec
from robustness.evalset.images.limits import MAX_BYTES

KIND = "webdataset"

MAX_SHARDS = 10_000
"""Maximum number of shards of a pattern."""

BLOCK = 512
"""Bytes of a tar block; a block of zeros ends the archive."""

META = re.compile(r"__[^/]*__($|/)|(.*/)?[^./]+\.__[^/]*$", re.DOTALL)
"""Metadata members, which the format excludes from samples, and members whose extension is a
key that the library itself sets in a sample, such as ``__bad__``."""

_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)(?:\.\.-?\d+)?\}")


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a shard.

    Attributes:
        shard: The path of the shard.
        name: The name in the archive.
        offset: The position of the first byte in the shard.
        size: The number of bytes.
    """

    shard: Path
    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Sample:
    """The members of one key, by extension."""

    shard: Path
    key: str
    members: Mapping[str, Member]

    @property
    def where(self) -> str:
        """Location for error messages."""
        return f"{self.shard}, sample {self.key}"


def expand(spec: str, pattern: str) -> list[Path]:
    """Return the shards of a pattern in order; braces expand first, then wildcards.

    A pattern is ``DIR/{000..015}.tar``, ``DIR/*.tar`` or one shard.

    Raises:
        UsageError: The braces are not balanced or expand to too many shards, or a wildcard
            pattern has no match.
    """
    from braceexpand import braceexpand

    try:
        # The library builds a whole range in memory before it yields the first number.
        ranges = math.prod(abs(int(b) - int(a)) + 1 for a, b in _RANGE.findall(pattern))
        names = list(islice(braceexpand(pattern), MAX_SHARDS + 1)) if ranges <= MAX_SHARDS else []
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"evaluation set {spec!r}: {error}; write braces as in {{000..015}} and {{a,b}}"
        ) from error
    if not 0 < len(names) <= MAX_SHARDS:
        raise UsageError(f"evaluation set {spec!r} expands to more than {MAX_SHARDS:,} shards")
    shards: dict[Path, None] = {}
    for name in names:
        path = _spec.path(KIND, name)
        has_wildcard = any(character in name for character in "*?[") and not path.exists()
        matches = sorted(glob(str(path))) if has_wildcard else [path]  # noqa: PTH207 - Path.glob refuses absolute patterns
        if not matches:
            raise UsageError(f"evaluation set {spec!r}: no shard matches {name}")
        shards |= dict.fromkeys(Path(match) for match in matches)
    return list(shards)


def samples(shard: Path) -> tuple[list[Sample], list[str]]:
    """Return the samples of a shard and the names of the members without a key.

    Raises:
        EvaluationSetError: The shard is truncated, damaged or not a tar archive; a member is
            a link or sparse; or a sample has two members with the same extension.
    """
    from webdataset.tariterators import base_plus_ext, group_by_keys

    members = [member for member in _members(shard) if not META.match(member.name)]
    keyless = [member.name for member in members if base_plus_ext(member.name)[0] is None]
    files = (
        {"fname": member.name, "data": member, "__url__": str(shard)}
        for member in members
        if base_plus_ext(member.name)[0] is not None
    )
    try:
        grouped = [_sample(shard, group) for group in group_by_keys(files)]
    except ValueError as error:
        raise EvaluationSetError(
            f"{shard}: a sample has two members with the same extension: {str(error.args[0])[:120]}"
        ) from error
    return grouped, keyless


def _sample(shard: Path, group: Mapping[str, Any]) -> Sample:
    members = {name: value for name, value in group.items() if isinstance(value, Member)}
    return Sample(shard, group["__key__"], members)


def read(member: Member) -> bytes:
    """Return the bytes of a member; thread-safe.

    Raises:
        EvaluationSetError: The member is too large, or the shard cannot be read or shrank.
    """
    where = f"{member.shard}: {member.name}"
    if member.size > MAX_BYTES:
        raise EvaluationSetError(f"{where} is larger than the limit of {MAX_BYTES:,} bytes")
    try:
        with member.shard.open("rb") as file:
            file.seek(member.offset)
            content = file.read(member.size)
    except OSError as error:
        raise EvaluationSetError(f"{where} cannot be read: {error.strerror}") from error
    if len(content) != member.size:
        raise EvaluationSetError(f"{where} is truncated; the shard changed while it was read")
    return content


def _members(shard: Path) -> Iterator[Member]:
    try:
        with tarfile.open(shard, "r:") as archive:
            end = 0
            for info in archive:
                if info.size < 0 or info.offset < end:  # tarfile would loop forever
                    raise EvaluationSetError(
                        f"{shard} is damaged at byte {info.offset}: member {info.name!r} has"
                        f" {info.size} bytes; write the shard again"
                    )
                end = info.offset_data
                if info.isdir():
                    continue
                if not info.isreg() or info.issparse():
                    raise EvaluationSetError(
                        f"{shard}: member {info.name!r} is not a regular file (a link, sparse or"
                        " special file); write the shard with tar --dereference"
                    )
                yield Member(shard, info.name, info.offset_data, info.size)
            _check_end(shard, archive.offset)
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise EvaluationSetError(f"{shard} is not a readable tar archive: {reason}") from error


def _check_end(shard: Path, offset: int) -> None:
    """Check that only zeros follow the last member: tarfile also stops at damage."""
    with shard.open("rb") as file:
        file.seek(offset)
        size = 0
        while chunk := file.read(2**20):
            if chunk.strip(b"\0"):
                raise EvaluationSetError(
                    f"{shard} is damaged or has data after its end, after byte {offset + size};"
                    " write the shard again"
                )
            size += len(chunk)
    if size < BLOCK:
        raise EvaluationSetError(f"{shard} is truncated: the end marker is missing; copy it again")
