"""A run of ``fetch``: from an address to a folder that ``open_i:DIR`` reads."""

from __future__ import annotations

import errno
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from robustness.errors import FetchError, UsageError
from robustness.evalset.open_i import _layout
from robustness.evalset.open_i._report import read_study
from robustness.fetch._archives import BASE, IMAGES, LICENCE, REPORTS, Archive
from robustness.fetch._console import Console
from robustness.fetch._download import Patience, download
from robustness.fetch._http import check_base
from robustness.fetch._place import lacking, place, remember
from robustness.fetch._unpack import BadArchiveError, unpack
from robustness.wording import counted

LOCK = ".fetch.lock"
STAGING = ".unpacking-"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be fetched.

    Attributes:
        root: The folder to fill.
        images: ``png``, ``dcm`` or ``none``.
        base: The address of the folder that holds the archives.
        keep: Whether the archives stay when they are unpacked.
    """

    root: Path
    images: str = "png"
    base: str = BASE
    keep: bool = False


def fetch(order: Order, console: Console, patience: Patience | None = None) -> list[str]:
    """Downloads and unpacks the Indiana collection; does nothing where it is all there.

    Args:
        order: What, and where to.
        console: What a person is told on the way.
        patience: How long the server is waited for.

    Returns:
        What there is now, line by line.

    Raises:
        UsageError: The folder or the address is none that can be used; nothing was done.
        FetchError: The collection cannot be fetched; what came is kept for the next call.
        EvaluationSetError: It is all there and cannot be read.
    """
    base = check_base(order.base)
    wanted = [archive for archive in (REPORTS, IMAGES[order.images]) if archive is not None]
    _check_root(order)
    with _disk(order.root):
        order.root.mkdir(parents=True, exist_ok=True)
        with _lock(order.root):
            missing = [archive for archive in wanted if _is_missing(order.root, archive, console)]
            _fill(order.root, missing, base, console, patience or Patience())
            lines = _describe(order.root, fetched=bool(missing))
            if not order.keep:
                for archive in missing:
                    (order.root / archive.name).unlink(missing_ok=True)
    return lines


def _check_root(order: Order) -> None:
    """Sees that a folder can be filled, and that its images would be read."""
    root = order.root
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is no folder; name one, or one that is to be made")
    images = IMAGES[order.images]
    if images is None:
        return
    for name in _layout.IMAGES[: _layout.IMAGES.index(images.folder)]:
        if (root / name).exists():
            raise UsageError(
                f"{root / name} is there, and images are read from it rather than from"
                f" {images.folder}; name another folder, or fetch reports only: --images none"
            )


@contextmanager
def _disk(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or root
        advice = (
            "free some room and call again, what came is kept"
            if error.errno in FULL
            else "name a folder that can be written to"
        )
        raise FetchError(
            f"{where} cannot be read or written: {error.strerror or error}; {advice}"
        ) from error


@contextmanager
def _lock(root: Path) -> Iterator[None]:
    # The lock's file stays: to remove it would let a third run lock a file of the same name.
    try:
        with FileLock(root / LOCK, timeout=0):
            yield
    except Timeout as error:
        raise FetchError(
            f"{root} is being filled by another run of fetch; wait until that one is done"
        ) from error


def _is_missing(root: Path, archive: Archive, console: Console) -> bool:
    gone = lacking(root, archive)
    if gone:
        console.say(
            f"{root / archive.folder}: {len(gone)} of its files are gone or were changed, such as"
            f" {gone[0]}; fetching them again"
        )
    return gone is None or bool(gone)


def _fill(
    root: Path, missing: Sequence[Archive], base: str, console: Console, patience: Patience
) -> None:
    for left in root.glob(f"{STAGING}*"):  # of a run that was killed
        shutil.rmtree(left)
    downloaded = set[Archive]()
    for archive in missing:
        path = root / archive.name
        if path.exists():
            console.say(f"{path} is there already; it is unpacked")
        else:
            console.say(f"fetching {base}{archive.name}")
            download(base + archive.name, path, archive.packed_bytes, console, patience)
            downloaded.add(archive)
    # Reports last: a folder without them is no evaluation set.
    for archive in reversed(missing):
        _unpack(root, archive, console, ours=archive in downloaded)


def _unpack(root: Path, archive: Archive, console: Console, *, ours: bool) -> None:
    path = root / archive.name
    with tempfile.TemporaryDirectory(dir=root, prefix=STAGING) as temporary:
        staged = Path(temporary) / archive.folder
        staged.mkdir()
        try:
            unpacked = unpack(path, archive, staged, console)
        except BadArchiveError as error:
            if ours:
                path.unlink()
            todo = "it was removed, so call again" if ours else "remove it and call again"
            raise FetchError(
                f"archive {path} cannot be unpacked: {error}; {todo} to fetch it anew, or name"
                " another address with --url"
            ) from error
        kept = place(staged, root / archive.folder, unpacked.sizes)
    if unpacked.left_out:
        console.say(
            f"{path.name}: left out {counted(len(unpacked.left_out), 'file')} not of the"
            f" collection's {archive.kind}, such as {unpacked.left_out[0]!r}"
        )
    if kept:
        console.say(f"{root / archive.folder}: {counted(kept, 'file')} there already, and equal")
    remember(root, archive, unpacked.sizes)


def _describe(root: Path, *, fetched: bool) -> list[str]:
    """What there is, counted from the files themselves."""
    studies = [read_study(path) for path in _layout.reports_folder(root).glob("*.xml")]
    images = _layout.image_files(root).paths
    named = {_layout.key(image) for study in studies for image in study.images}
    absent = len(named - images.keys())
    holds = "" if fetched else "already, so nothing was fetched"
    lines = [
        f"{root} holds {counted(len(studies), 'report')} and {counted(len(images), 'image')}"
        + (f" {holds}" if holds else "")
    ]
    spec = f"open_i:{root}"
    if not images:
        todo = f"python -m robustness fetch open_i {shlex.quote(str(root))}"
        return [*lines, f"licence: {LICENCE}", f"next, for the images: {todo}"]
    if absent:
        lines.append(f"left out: {counted(absent, 'image')} named by reports and not there")
        spec += ",missing=exclude"
    todo = f"pytest -m robustness --robustness-evalset {shlex.quote(spec)}"
    return [*lines, f"licence: {LICENCE}", f"next: {todo}"]
