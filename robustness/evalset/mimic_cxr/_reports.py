"""Access to the reports of MIMIC-CXR: a tree of text files, or PhysioNet's archive."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from robustness.errors import EvaluationSetError, UsageError
from robustness.evalset._files import inside

ARCHIVE = "mimic-cxr-reports.zip"
FILES = "files"

MAX_REPORT_BYTES = 1 << 18
"""Maximum size of a report in bytes; those of the collection have a few thousand."""

_DAMAGE = (
    OSError,
    EOFError,
    ValueError,  # names that cannot be decoded, and impossible offsets
    RuntimeError,  # encryption, and unsupported features
    zipfile.BadZipFile,
    zlib.error,
)
"""Exceptions of zipfile for damaged archives."""

_MEMBER = re.compile(r"(?:.*/)?p[0-9]{2}/p(?P<subject>[0-9]{8})/s(?P<study>[0-9]{8})\.txt")


Reports = Callable[[str, str], str | None]
"""Function of subject and study that returns the text of the report; None if there is none.

Raises:
    EvaluationSetError: The report cannot be read, is too large, or is not text.
"""


def folder_of(subject: str) -> str:
    """Return the folder of a patient, such as ``p10/p10000032``."""
    return f"p{subject[:2]}/p{subject}"


def find_reports(root: Path, named: str | None) -> Path:
    """Return the archive or the folder that contains the reports.

    ``named`` is absolute or relative to ``root``. The default is the archive in ``root``, or
    ``root`` itself if there is none.

    Raises:
        UsageError: The named folder or archive does not exist.
    """
    if named is None:
        archive = root / ARCHIVE
        return archive if archive.is_file() else root
    path = root / Path(named).expanduser()
    if not named or not (path.is_dir() or path.is_file()):
        raise UsageError(
            f"evaluation set mimic_cxr: option reports is {named!r}, but {path} does not"
            f" exist; name the folder that contains {FILES}/, or {ARCHIVE}, relative to {root}"
        )
    return path


@contextmanager
def open_reports(path: Path) -> Iterator[Reports]:
    """Open the reports of a folder or an archive.

    Raises:
        EvaluationSetError: The archive is damaged, or a name in it leaves its folder.
    """
    if path.is_dir():
        yield _Tree(path / FILES if (path / FILES).is_dir() else path)
        return
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGE as error:
        raise EvaluationSetError(
            f"reports {path} cannot be read: {error}; name a folder or {ARCHIVE}"
        ) from error
    with archive:
        yield _Archive(path, archive)


class _Tree:
    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, subject: str, study: str, /) -> str | None:
        name = f"{folder_of(subject)}/s{study}.txt"
        path = inside(self._root, name, f"reports {self._root}")
        try:
            # Opening a named pipe would block.
            if not path.is_file():
                if path.exists():
                    raise EvaluationSetError(f"report {path} is not a regular file")
                return None
            with path.open("rb") as file:
                content = file.read(MAX_REPORT_BYTES + 1)
        except OSError as error:
            raise EvaluationSetError(f"report {path} cannot be read: {error.strerror}") from error
        return _text(content, str(path))


class _Archive:
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path, self._archive = path, archive
        self._members: dict[tuple[str, str], zipfile.ZipInfo] = {}
        for member in archive.infolist():
            name = member.filename
            if name.startswith("/") or "\\" in name or ".." in name.split("/"):
                raise EvaluationSetError(
                    f"reports {path}: {name!r} leaves the archive's folder; fetch {ARCHIVE} again"
                )
            match = _MEMBER.fullmatch(name)
            if not match:
                continue
            key = (match["subject"], match["study"])
            if key in self._members:
                raise EvaluationSetError(
                    f"reports {path}: study {match['study']} has two reports,"
                    f" {self._members[key].filename!r} and {name!r}; allowed is one"
                )
            self._members[key] = member

    def __call__(self, subject: str, study: str, /) -> str | None:
        member = self._members.get((subject, study))
        if member is None:
            return None
        name = f"{member.filename} in {self._path}"
        if member.file_size > MAX_REPORT_BYTES:
            raise EvaluationSetError(_too_large(name))
        if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise EvaluationSetError(
                f"report {name} is compressed by method {member.compress_type}; allowed are"
                f" stored (0) and deflated (8), as in {ARCHIVE}"
            )
        try:
            with self._archive.open(member) as file:
                content = file.read(MAX_REPORT_BYTES + 1)
        except _DAMAGE as error:
            raise EvaluationSetError(f"report {name} cannot be read: {error}") from error
        return _text(content, name)


def _text(content: bytes, name: str) -> str:
    if len(content) > MAX_REPORT_BYTES:
        raise EvaluationSetError(_too_large(name))
    if b"\0" in content:
        raise EvaluationSetError(f"report {name} is not text: it contains a zero byte")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Latin-1 decodes every byte.
        return content.decode("latin-1")


def _too_large(name: str) -> str:
    return f"report {name} is larger than {MAX_REPORT_BYTES} bytes; a report has a few thousand"
