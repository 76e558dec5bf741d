"""Images that lie in files: what keeps a set inside its folder, and knows its content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from robustness.errors import EvaluationSetError
from robustness.evalset._base import Pair
from robustness.evalset.images import Image
from robustness.evalset.images.decode import DECODING, read_image


def inside(root: Path, name: str, where: str) -> Path:
    """The path that a collection names, which must lie in the collection's folder.

    Args:
        root: The collection's folder.
        name: A path relative to it, as the collection writes it.
        where: What names it, such as ``manifest a.csv, row 7``; begins an error.

    Raises:
        EvaluationSetError: The path leaves the folder, by ``..``, a root or a link.
    """
    try:
        path = (root / name).resolve()
        contained = path.is_relative_to(root.resolve())
    except (OSError, ValueError, RuntimeError) as error:
        raise EvaluationSetError(f"{where}: {name!r} is no path: {error}") from error
    if not contained or not name:
        raise EvaluationSetError(
            f"{where}: {name!r} does not lie in {root}; only files in that folder are read"
        )
    return root / name


def digests(paths: Sequence[Path], side: int | None) -> list[str]:
    """A hash of each file's content and of how it is decoded.

    Args:
        paths: The files.
        side: The longest side the images are kept at; None as they are.

    Raises:
        EvaluationSetError: A file cannot be read.
    """
    with ThreadPoolExecutor() as pool:
        return list(pool.map(partial(_digest, side=side), paths))


def _digest(path: Path, side: int | None) -> str:
    try:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EvaluationSetError(f"image {path} cannot be read: {error.strerror}") from error
    return digest_of(content, side)


def digest_of(content: str, side: int | None) -> str:
    """The digest of an image, the same in every kind of set.

    Args:
        content: The SHA-256 of its file's bytes.
        side: The longest side it is kept at; None as it is.
    """
    return hashlib.sha256(f"{content} {DECODING} {side or 'native'}".encode()).hexdigest()


def changed(name: str) -> EvaluationSetError:
    """The error for an image that is not what it was when the set was loaded.

    Measured all the same, it would be kept under the name of what it was.
    """
    return EvaluationSetError(
        f"image {name} changed while the gate ran; run it again when nothing writes to the"
        " evaluation set",
        "evalset_changed",
    )


Stamp = tuple[int, int, int, int]
"""A file's inode, its size, and when it, and what is known of it, changed last."""


def _stamp(path: Path) -> Stamp | None:
    """What changes when a file does; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@dataclass(frozen=True, slots=True)
class FileDecoder:
    """Decodes the images of a set from their files, as they are when this is made.

    Attributes:
        files: Each image's file, by image id.
        side: The longest side the images are kept at; None as they are.
    """

    files: Mapping[str, Path]
    side: int | None
    _stamps: Mapping[str, Stamp | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Hashing each file again would cost a twentieth of decoding it.
        stamps = {image: _stamp(path) for image, path in self.files.items()}
        object.__setattr__(self, "_stamps", stamps)

    def __call__(self, pair: Pair) -> Image:
        """The image of a pair, uint8 ``[height, width]``.

        Raises:
            EvaluationSetError: The file is missing, damaged, or not an image, or not the one
                that the set was loaded with.
        """
        path = self.files[pair.image_id]
        image = read_image(path, self.side)
        if _stamp(path) != self._stamps[pair.image_id]:
            raise changed(str(path))
        return image
