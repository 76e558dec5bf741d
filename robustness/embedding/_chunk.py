"""A file of decoded images: their pixels one after another, then an index, then its hash.

The index says where each image lies, its size and its checksum. The file is written as its
images come, so it never stands in memory, and takes its name only when it is whole.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustness.errors import StoreError
from robustness.evalset import Image

SCHEMA = "decoded-1"
"""Changes when a file has another form than before."""

ROW = np.dtype([("offset", "<u8"), ("height", "<u4"), ("width", "<u4"), ("checksum", "<u4")])

HASH_BYTES = hashlib.sha256().digest_size

Identity = tuple[int, int]
"""A file's inode, and when it was written last."""


class DamagedError(Exception):
    """A file is not as it was written."""


@dataclass(frozen=True)
class Chunk:
    """The decoded images of a file, mapped into memory.

    Attributes:
        identity: Tells the file, as it was when it was opened, from any other.
    """

    identity: Identity
    _index: NDArray[Any]
    _pixels: mmap.mmap = field(repr=False)

    def __len__(self) -> int:
        """The number of images."""
        return len(self._index)

    def is_file_of(self, other: Chunk) -> bool:
        """Whether both lie in one file, which may have been written to in between.

        A file that is mapped keeps its inode, so that the one that takes its place has another.
        """
        return self.identity[0] == other.identity[0]

    def image(self, place: int) -> Image:
        """An image, uint8 ``[height, width]``, read-only, a view of the file."""
        offset, height, width, _ = self._index[place].tolist()
        flat = np.frombuffer(self._pixels, np.uint8, height * width, offset)
        return flat.reshape(height, width)

    def intact(self, place: int) -> bool:
        """Whether an image's pixels are those that were written."""
        return zlib.crc32(self.image(place).data) == int(self._index[place]["checksum"])


def open_chunk(path: Path, images: int) -> Chunk:
    """Opens a file and checks its index; the images are not read.

    Args:
        path: The file.
        images: How many images it must hold.

    Raises:
        FileNotFoundError: There is none.
        DamagedError: It was cut short, or changed where the index stands.
        StoreError: It cannot be read.
    """
    size = images * ROW.itemsize
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            start = status.st_size - size - HASH_BYTES
            if start <= 0:
                raise DamagedError
            file.seek(start)
            index, digest = file.read(size), file.read(HASH_BYTES)
            if _hash(path, start, index) != digest:
                raise DamagedError
            pixels = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"decoded images {path} cannot be read: {error.strerror}") from error
    return Chunk((status.st_ino, status.st_mtime_ns), np.frombuffer(index, ROW), pixels)


def _hash(path: Path, pixels: int, index: bytes) -> bytes:
    """Binds an index to its file's name and length."""
    return hashlib.sha256(f"{SCHEMA} {path.stem} {pixels} ".encode() + index).digest()


class ChunkWriter:
    """Writes a file of decoded images, each as it comes, from any number of threads.

    Whoever makes one holds the file's lock: what a process that died left half-written is
    written over.

    Args:
        path: The file.
        images: How many images it is to hold.

    Raises:
        StoreError: It cannot be written.
    """

    def __init__(self, path: Path, images: int) -> None:
        self._path = path
        self._partial = path.with_suffix(".partial")
        self._index = np.zeros(images, ROW)
        self._end = 0
        self._turn = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: an image goes to the file as it is, without a copy.
            self._file = self._partial.open("wb", buffering=0)
        except OSError as error:
            raise self._full(error) from error

    def add(self, place: int, image: Image) -> None:
        """Writes one image.

        Args:
            place: Its place in the index.
            image: uint8 ``[height, width]``.

        Raises:
            StoreError: It cannot be written.
        """
        pixels = np.ascontiguousarray(image)
        checksum = zlib.crc32(pixels.data)
        with self._turn:
            self._write(pixels.reshape(-1).data)
            self._index[place] = (self._end, *image.shape, checksum)
            self._end += pixels.nbytes

    def close(self) -> None:
        """Ends the file, which from here on is found under its name.

        Raises:
            StoreError: It cannot be written.
        """
        index = self._index.tobytes()
        self._write(memoryview(index + _hash(self._path, self._end, index)))
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            self._partial.replace(self._path)
        except OSError as error:
            raise self._full(error) from error

    def discard(self) -> None:
        """Leaves nothing behind; of no account after :meth:`close`."""
        # Closing may report once more what made the file be discarded.
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._partial.unlink(missing_ok=True)

    def _write(self, data: memoryview) -> None:
        try:
            # A full disk may take a part of what it is given.
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> StoreError:
        return StoreError(
            f"decoded images {self._path} cannot be written: {error.strerror}; free some room or"
            " name another folder with --robustness-store"
        )
