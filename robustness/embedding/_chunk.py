"""Chunk file of decoded images: the pixels of all images, their index, and a hash.

The index has the offset, size and checksum of each image. Images are written as they come, so a
chunk is never in memory as a whole; the file gets its name once it is complete.
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
"""Version of the file format."""

ROW = np.dtype([("offset", "<u8"), ("height", "<u4"), ("width", "<u4"), ("checksum", "<u4")])

HASH_BYTES = hashlib.sha256().digest_size

Identity = tuple[int, int]
"""Inode and modification time of a file."""


class DamagedError(Exception):
    """A chunk file is not as it was written."""


@dataclass(frozen=True)
class Chunk:
    """Decoded images of a file that is mapped into memory."""

    identity: Identity
    _index: NDArray[Any]
    _pixels: mmap.mmap = field(repr=False)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._index)

    def same_file(self, other: Chunk) -> bool:
        """Return True if both map one file, even if it was modified in between.

        A mapped file keeps its inode, so a file that replaces it has another one.
        """
        return self.identity[0] == other.identity[0]

    def image(self, index: int) -> Image:
        """Return an image, uint8 ``[height, width]``, as a read-only view of the file."""
        offset, height, width, _ = self._index[index].tolist()
        flat = np.frombuffer(self._pixels, np.uint8, height * width, offset)
        return flat.reshape(height, width)

    def intact(self, index: int) -> bool:
        """Return True if an image's pixels match their checksum."""
        return zlib.crc32(self.image(index).data) == int(self._index[index]["checksum"])


def open_chunk(path: Path, images: int) -> Chunk:
    """Open a chunk file and check its index; no image is read.

    Args:
        path: The file.
        images: Expected number of images.

    Raises:
        FileNotFoundError: The file does not exist.
        DamagedError: The file was cut short, or its index is damaged.
        StoreError: The file cannot be read.
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
    """Return a hash of an index with its file's name and number of pixels."""
    return hashlib.sha256(f"{SCHEMA} {path.stem} {pixels} ".encode() + index).digest()


class ChunkWriter:
    """Writer of a chunk file; images may come from any number of threads.

    The caller holds the file's lock: a temporary file left by a killed process is overwritten.

    Args:
        path: The file.
        images: Number of images.

    Raises:
        StoreError: The file cannot be written; raised by :meth:`add` and :meth:`close` too.
    """

    def __init__(self, path: Path, images: int) -> None:
        self._path = path
        self._partial = path.with_suffix(".partial")
        self._index = np.zeros(images, ROW)
        self._end = 0
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered, so that images are not copied.
            self._file = self._partial.open("wb", buffering=0)
        except OSError as error:
            raise self._error(error) from error

    def add(self, index: int, image: Image) -> None:
        """Write the image of an index, uint8 ``[height, width]``."""
        pixels = np.ascontiguousarray(image)
        checksum = zlib.crc32(pixels.data)
        with self._lock:
            self._write(pixels.reshape(-1).data)
            self._index[index] = (self._end, *image.shape, checksum)
            self._end += pixels.nbytes

    def close(self) -> None:
        """Complete the file and give it its name."""
        index = self._index.tobytes()
        self._write(memoryview(index + _hash(self._path, self._end, index)))
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            self._partial.replace(self._path)
        except OSError as error:
            raise self._error(error) from error

    def discard(self) -> None:
        """Delete the temporary file; do nothing after :meth:`close`."""
        # Closing may raise again the error that made the caller discard the file.
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._partial.unlink(missing_ok=True)

    def _write(self, data: memoryview) -> None:
        try:
            # If the disk is nearly full, a write may be incomplete.
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise self._error(error) from error

    def _error(self, error: OSError) -> StoreError:
        return StoreError(
            f"decoded images {self._path} cannot be written: {error.strerror}; free disk space or"
            " use another folder with --robustness-store"
        )
