"""Image files of a set: path checks, content digests and decoding."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from robustness.errors import Code, EvaluationSetError
from robustness.evalset._base import Pair
from robustness.evalset.images import Image
from robustness.evalset.images.decode import DECODING, read_image
from robustness.evalset.images.dicom import PREAMBLE_BYTES, require_libraries


def inside(root: Path, name: str, where: str) -> Path:
    """Return ``root / name`` if it is inside ``root``; ``where`` is the location of the name.

    Raises:
        EvaluationSetError: The path leaves the folder by ``..``, an absolute path or a link.
    """
    try:
        path = (root / name).resolve()
        contained = path.is_relative_to(root.resolve())
    except (OSError, ValueError, RuntimeError) as error:
        raise EvaluationSetError(f"{where}: {name!r} is not a valid path: {error}") from error
    if not contained or not name:
        raise EvaluationSetError(
            f"{where}: {name!r} is outside {root}; only files in that folder are read"
        )
    return root / name


def digests(paths: Sequence[Path], side: int | None) -> list[str]:
    """Return a digest of each file that covers its content, the decoding rule and the side.

    Raises:
        EvaluationSetError: A file cannot be read.
    """
    with ThreadPoolExecutor() as pool:
        return list(pool.map(partial(_digest, side=side), paths))


def _digest(path: Path, side: int | None) -> str:
    try:
        with path.open("rb") as file:
            require_libraries(str(path), file.read(PREAMBLE_BYTES))
            file.seek(0)
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EvaluationSetError(f"image {path} cannot be read: {error.strerror}") from error
    return digest_of(content, side)


def digest_of(content: str, side: int | None) -> str:
    """Return the digest of an image, by the hexadecimal SHA-256 of its file."""
    return hashlib.sha256(f"{content} {DECODING} {side or 'native'}".encode()).hexdigest()


def changed(name: str) -> EvaluationSetError:
    """Return the error for an image that changed after the set was loaded.

    Its embedding would be stored under the digest of the old content.
    """
    return EvaluationSetError(
        f"image {name} changed while the gate ran; run again when nothing writes to the"
        " evaluation set",
        Code.EVALSET_CHANGED,
    )


FileState = tuple[int, int, int, int]
"""Inode, size, modification time and status-change time of a file."""


def _file_state(path: Path) -> FileState | None:
    """Return the state of a file; None if it cannot be accessed."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@dataclass(frozen=True, slots=True)
class FileDecoder:
    """Decoder of the image files of a set; an error if a file changes after construction.

    Attributes:
        files: The file of each image, by image id.
        side: Maximum pixels of the longer side; None for the original size.
    """

    files: Mapping[str, Path]
    side: int | None
    _states: Mapping[str, FileState | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Comparing states saves hashing each file again, 5 % of the decoding time.
        states = {image: _file_state(path) for image, path in self.files.items()}
        object.__setattr__(self, "_states", states)

    def __call__(self, pair: Pair) -> Image:
        """Decode the image of a pair to uint8 ``[height, width]``.

        Raises:
            EvaluationSetError: The file is missing, damaged, not an image, or changed since
                the set was loaded.
        """
        path = self.files[pair.image_id]
        image = read_image(path, self.side)
        if _file_state(path) != self._states[pair.image_id]:
            raise changed(str(path))
        return image
