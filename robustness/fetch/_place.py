"""Putting unpacked files where they belong, and knowing later that they are all there.

A folder alone does not say that it is whole: an unpacking by hand may have been cut short.
So what was unpacked is noted, in ``DIR/.fetched.json``, after it is all in place.
"""

from __future__ import annotations

import filecmp
import json
from collections.abc import Mapping
from pathlib import Path

from robustness.errors import FetchError
from robustness.fetch._archives import Archive
from robustness.files import write_whole

NOTE = ".fetched.json"
SCHEMA = "fetched-1"


def place(staged: Path, folder: Path, names: Mapping[str, int]) -> int:
    """Moves files into a folder: at once where it is not there, else what it lacks.

    Args:
        staged: Where the files are, on the same disk.
        folder: Where they are to be.
        names: Their paths below either.

    Returns:
        How many were there already, and equal.

    Raises:
        FetchError: A file is there already and differs; nothing was moved.
        OSError: They cannot be moved.
    """
    if not folder.exists():
        staged.rename(folder)
        return 0
    there = [name for name in names if (folder / name).exists()]
    differ = [
        name for name in there if not filecmp.cmp(staged / name, folder / name, shallow=False)
    ]
    if differ:
        more = f", and so do {len(differ) - 1} more" if len(differ) > 1 else ""
        raise FetchError(
            f"{folder / differ[0]} is there already and differs from the collection's{more}; move"
            " what differs away and call again, or name another folder"
        )
    for name in names.keys() - set(there):
        (folder / name).parent.mkdir(exist_ok=True)
        (staged / name).replace(folder / name)
    return len(there)


def remember(root: Path, archive: Archive, sizes: Mapping[str, int]) -> None:
    """Notes what an archive unpacked to.

    Raises:
        OSError: The note cannot be written.
    """
    noted = _noted(root) | {archive.name: dict(sorted(sizes.items()))}
    content = json.dumps({"schema": SCHEMA, "archives": noted}, indent=0)
    write_whole(root / NOTE, content.encode())


def lacking(root: Path, archive: Archive) -> list[str] | None:
    """The files of an archive that are gone or have another size since it was unpacked.

    Returns:
        Their paths below the archive's folder; None where it was never unpacked here.
    """
    noted = _noted(root).get(archive.name)
    if not isinstance(noted, dict) or not noted:
        return None
    folder = root / archive.folder
    return [name for name, size in noted.items() if _size(folder / name) != size]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _noted(root: Path) -> dict[str, dict[str, int]]:
    try:
        found = json.loads((root / NOTE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    right = isinstance(found, dict) and found.get("schema") == SCHEMA
    archives = found.get("archives") if right else None
    return archives if isinstance(archives, dict) else {}
