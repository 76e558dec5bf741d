"""Where the reports of MIMIC-CXR lie: a tree of text files, or the archive PhysioNet offers."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from robustness.errors import EvaluationSetError, UsageError
from robustness.evalset._files import inside

ARCHIVE = "mimic-cxr-reports.zip"
FILES = "files"

LARGEST = 1 << 18
"""Bytes of a report at most; those of the collection have a few thousand."""

_DAMAGE = (
    OSError,
    EOFError,
    ValueError,  # of names that do not decode, and of places that no file has
    RuntimeError,  # of a password, and of what is not implemented
    zipfile.BadZipFile,
    zlib.error,
)
"""What zipfile raises on damaged archives."""

_MEMBER = re.compile(r"(?:.*/)?p[0-9]{2}/p(?P<subject>[0-9]{8})/s(?P<study>[0-9]{8})\.txt")


class Reports(Protocol):
    """Reads the report of a study."""

    def __call__(self, subject: str, study: str, /) -> str | None:
        """The report's text; None where there is no report of the study.

        Raises:
            EvaluationSetError: The report cannot be read, is too large, or is no text.
        """
        ...


def folder_of(subject: str) -> str:
    """The folder of a patient, ``p10/p10000032``."""
    return f"p{subject[:2]}/p{subject}"


def locate(root: Path, named: str | None) -> Path:
    """The archive or the folder that holds the reports.

    Args:
        root: The collection's folder.
        named: A folder or an archive, absolute or relative to ``root``; where it is None, the
            archive in ``root`` is taken, and without one ``root`` itself.

    Raises:
        UsageError: What is named is not there.
    """
    if named is None:
        archive = root / ARCHIVE
        return archive if archive.is_file() else root
    path = root / Path(named).expanduser()
    if not named or not (path.is_dir() or path.is_file()):
        raise UsageError(
            f"evaluation set mimic_cxr: option reports is {named!r}, and there is no {path};"
            f" name the folder that holds {FILES}/, or {ARCHIVE}, from {root}"
        )
    return path


@contextmanager
def opened(path: Path) -> Iterator[Reports]:
    """The reports of a folder or an archive, for as long as they are needed.

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
            # Opening a pipe would wait for someone to write.
            if not path.is_file():
                if path.exists():
                    raise EvaluationSetError(f"report {path} is no regular file")
                return None
            with path.open("rb") as file:
                content = file.read(LARGEST + 1)
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
            found = _MEMBER.fullmatch(name)
            if not found:
                continue
            key = (found["subject"], found["study"])
            if key in self._members:
                raise EvaluationSetError(
                    f"reports {path}: study {found['study']} has two reports,"
                    f" {self._members[key].filename!r} and {name!r}; a study has one"
                )
            self._members[key] = member

    def __call__(self, subject: str, study: str, /) -> str | None:
        member = self._members.get((subject, study))
        if member is None:
            return None
        name = f"{member.filename} in {self._path}"
        if member.file_size > LARGEST:
            raise EvaluationSetError(_too_large(name))
        if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise EvaluationSetError(
                f"report {name} is packed by method {member.compress_type}; allowed are stored (0)"
                f" and deflated (8), as in {ARCHIVE}"
            )
        try:
            with self._archive.open(member) as file:
                content = file.read(LARGEST + 1)
        except _DAMAGE as error:
            raise EvaluationSetError(f"report {name} cannot be read: {error}") from error
        return _text(content, name)


def _text(content: bytes, name: str) -> str:
    if len(content) > LARGEST:
        raise EvaluationSetError(_too_large(name))
    if b"\0" in content:
        raise EvaluationSetError(f"report {name} is no text: it holds a zero byte")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Text from before Unicode; every byte has a meaning in Latin-1.
        return content.decode("latin-1")


def _too_large(name: str) -> str:
    return f"report {name} is larger than {LARGEST} bytes; a report has a few thousand"
