"""Tar shards: where each member lies, and the samples that the members make."""

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

MOST = 10_000
"""Shards a pattern may stand for."""

BLOCK = 512
"""Bytes a tar archive is counted in; a block of zeros ends it."""

META = re.compile(r"__[^/]*__($|/)|(.*/)?[^./]+\.__[^/]*$", re.DOTALL)
"""Members that are about the shard and no part of a sample, as the format has it; and those
whose extension the library would take for what it notes of a sample, such as ``__bad__``."""

_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)(?:\.\.-?\d+)?\}")


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a shard.

    Attributes:
        shard: The shard.
        name: Its name there.
        offset: The byte of the shard it begins at.
        size: Its bytes.
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
        """What names it in an error."""
        return f"{self.shard}, sample {self.key}"


def expand(spec: str, pattern: str) -> list[Path]:
    """The shards that a pattern stands for, in its order; braces first, then wildcards.

    Args:
        spec: The specification, for errors.
        pattern: ``DIR/{000..015}.tar``, ``DIR/*.tar`` or one shard.

    Raises:
        UsageError: The braces do not match, or stand for too many shards; or a pattern with
            wildcards has no match.
    """
    from braceexpand import braceexpand

    try:
        # The library makes every number of a range before it gives the first.
        ranges = math.prod(abs(int(b) - int(a)) + 1 for a, b in _RANGE.findall(pattern))
        names = list(islice(braceexpand(pattern), MOST + 1)) if ranges <= MOST else []
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"evaluation set {spec!r}: {error}; braces are as in {{000..015}} and {{a,b}}"
        ) from error
    if not 0 < len(names) <= MOST:
        raise UsageError(f"evaluation set {spec!r} stands for more than {MOST:,} shards")
    shards: dict[Path, None] = {}
    for name in names:
        path = _spec.path(KIND, name)
        wild = any(character in name for character in "*?[") and not path.exists()
        matches = sorted(glob(str(path))) if wild else [path]  # noqa: PTH207 - takes any root
        if not matches:
            raise UsageError(f"evaluation set {spec!r}: no shard matches {name}")
        shards |= dict.fromkeys(Path(match) for match in matches)
    return list(shards)


def samples(shard: Path) -> tuple[list[Sample], list[str]]:
    """The samples of a shard, grouped by the library, and the members that have no key.

    Raises:
        EvaluationSetError: The shard is truncated, damaged or no tar archive; a member is a
            link or sparse; or a sample has two members of one extension.
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
        grouped = [_sample(shard, found) for found in group_by_keys(files)]
    except ValueError as error:
        raise EvaluationSetError(
            f"{shard}: a sample has two members of one extension: {str(error.args[0])[:120]}"
        ) from error
    return grouped, keyless


def _sample(shard: Path, found: Mapping[str, Any]) -> Sample:
    members = {name: value for name, value in found.items() if isinstance(value, Member)}
    return Sample(shard, found["__key__"], members)


def read(member: Member) -> bytes:
    """The bytes of a member; safe in any number of threads.

    Raises:
        EvaluationSetError: The shard cannot be read, or became shorter.
    """
    where = f"{member.shard}: {member.name}"
    if member.size > MAX_BYTES:
        raise EvaluationSetError(f"{where} is larger than {MAX_BYTES:,} bytes; no radiograph is")
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
                if info.size < 0 or info.offset < end:  # tarfile would go round and round
                    raise EvaluationSetError(
                        f"{shard} is damaged at byte {info.offset}: member {info.name!r} has"
                        f" {info.size} bytes; write the shard again"
                    )
                end = info.offset_data
                if info.isdir():
                    continue
                if not info.isreg() or info.issparse():
                    raise EvaluationSetError(
                        f"{shard}: member {info.name!r} is a link, sparse or no file; shards hold"
                        " plain files (tar --dereference)"
                    )
                yield Member(shard, info.name, info.offset_data, info.size)
            _see_end(shard, archive.offset)
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise EvaluationSetError(f"{shard} is no tar archive that can be read: {reason}") from error


def _see_end(shard: Path, offset: int) -> None:
    """Sees that members end where the archive does: tarfile ends at damage as at the end."""
    with shard.open("rb") as file:
        file.seek(offset)
        size = 0
        while chunk := file.read(2**20):
            if chunk.strip(b"\0"):
                raise EvaluationSetError(
                    f"{shard} is damaged or goes on beyond its end, after byte {offset + size};"
                    " write the shard again"
                )
            size += len(chunk)
    if size < BLOCK:
        raise EvaluationSetError(f"{shard} is truncated: it has no end mark; copy it again")
