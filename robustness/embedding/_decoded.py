"""Decoding once: all the images of a set, at the first use, kept in files that are mapped.

The images are decoded by all the cores at once and kept by content, :data:`CHUNK` a file.
Processes that share a store share the work too: each takes the files that no other has
taken. What is read is a view of the file, so it needs no memory but the page cache.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from robustness._util.progress import Stream, progress
from robustness.embedding._chunk import (
    SCHEMA,
    Chunk,
    ChunkWriter,
    DamagedError,
    Identity,
    open_chunk,
)
from robustness.embedding._store import Store
from robustness.errors import EvaluationSetError, GateError, StoreError
from robustness.evalset import EvaluationSet, Image, Pair

CHUNK = 128
"""Images a file: what is decoded anew where one image changes."""

MAPPED = 4
"""Files a process keeps mapped, beside those of which an image is still in use."""

logger = logging.getLogger(__name__)


def decode_once(
    evalset: EvaluationSet, store: Store, *, stream: Stream | None = None
) -> EvaluationSet:
    """The same set, decoding each image once for all the processes that share a store.

    The first image asked for has all of them decoded; until then nothing is. The images
    are read-only. Of a damaged file all the images are decoded anew.

    Args:
        evalset: The set; its ``decode`` is called from several threads.
        store: Where the decoded images are kept, by the digests of their pairs.
        stream: Where to show how far the decoding is, if it is a terminal.

    Raises:
        EvaluationSetError: On decoding: an image cannot be decoded; the others are.
        StoreError: On decoding: the images cannot be written or read.
    """
    return replace(evalset, decode=_Decoder(evalset, store, stream).decode)


@dataclass(frozen=True, slots=True)
class _Job:
    """A file that this process is writing."""

    number: int
    lock: FileLock
    writer: ChunkWriter
    images: list[Future[EvaluationSetError | None]]


class _Decoder:
    def __init__(self, evalset: EvaluationSet, store: Store, stream: Stream | None) -> None:
        self._evalset = evalset
        self._store = store
        self._stream = stream
        self._places = {p.image_id: divmod(i, CHUNK) for i, p in enumerate(evalset.pairs)}
        self._files: list[Path] = []
        self._failure: GateError | None = None
        self._mapped: OrderedDict[int, Chunk] = OrderedDict()
        self._checked: dict[tuple[int, Identity], bytearray] = {}
        self._lock = threading.Lock()

    def decode(self, pair: Pair) -> Image:
        """The image of a pair, read-only, checked where it is read for the first time."""
        number, place = self._places[pair.image_id]
        for _ in range(2):
            with self._lock:
                if not self._files:
                    self._prepare()
                chunk = self._chunk(number)
            checked = self._checked.setdefault((number, chunk.identity), bytearray(len(chunk)))
            checked[place] = checked[place] or chunk.intact(place)
            if checked[place]:
                return chunk.image(place)
            with self._lock:
                self._mapped.pop(number, None)
                self._make([number], damaged=chunk)
        raise StoreError(
            f"decoded images {self._files[number]} are damaged again as soon as they are written;"
            " name a folder on another disk with --robustness-store"
        )

    def _prepare(self) -> None:
        """Decodes what the store lacks; a failure is not tried again."""
        if self._failure:
            raise type(self._failure)(str(self._failure), self._failure.code)
        numbers = range(-(-len(self._evalset) // CHUNK))
        try:
            self._files = [self._file(number) for number in numbers]
            self._make(numbers)
        except GateError as error:
            self._files, self._failure = [], error
            raise

    def _pairs(self, number: int) -> tuple[Pair, ...]:
        return self._evalset.pairs[number * CHUNK : (number + 1) * CHUNK]

    def _file(self, number: int) -> Path:
        key = json.dumps([SCHEMA, [pair.digest for pair in self._pairs(number)]])
        name = hashlib.sha256(key.encode()).hexdigest()
        return self._store.root / name[:2] / f"{name}.images"

    # --- reading ---------------------------------------------------------------------

    def _chunk(self, number: int) -> Chunk:
        if number not in self._mapped:
            chunk = self._find(number)
            if chunk is None:
                self._make([number])
                chunk = open_chunk(self._files[number], len(self._pairs(number)))
            self._mapped[number] = chunk
        self._mapped.move_to_end(number)
        while len(self._mapped) > MAPPED:
            self._mapped.popitem(last=False)
        return self._mapped[number]

    def _find(
        self, number: int, *, damaged: Chunk | None = None, say: bool = False
    ) -> Chunk | None:
        """A file that is there and whole, and is not the one known to be damaged."""
        path = self._files[number]
        try:
            chunk = open_chunk(path, len(self._pairs(number)))
        except FileNotFoundError:
            return None
        except DamagedError:
            chunk = None
        if chunk is not None and not (damaged and chunk.is_file_of(damaged)):
            return chunk
        if say:
            self._store.counts.damaged += 1
            logger.warning("decoded images %s are damaged and are decoded anew", path)
        return None

    # --- decoding --------------------------------------------------------------------

    def _make(self, numbers: Sequence[int], *, damaged: Chunk | None = None) -> None:
        """Sees to it that files are there, leaving to other processes what they have begun."""
        missing = [n for n in numbers if self._find(n, damaged=damaged) is None]
        self._store.counts.found += len(numbers) - len(missing)
        if not missing:
            return
        images = sum(len(self._pairs(number)) for number in missing)
        failures: dict[str, EvaluationSetError] = {}
        with progress(images, "decoding", "images", self._stream) as advance:
            pool = ThreadPoolExecutor(_cores(), thread_name_prefix="decode")
            begun: deque[_Job] = deque()
            taken: list[int] = []
            try:
                for number in chain(missing, taken):
                    wait = number in taken
                    # The next file is begun before the last is ended, so that no core waits
                    # for the disk; but none while this process waits for another one.
                    while len(begun) > (0 if wait else 1):
                        failures |= self._end(begun[0], advance)
                        begun.popleft()
                    lock = self._take(number, wait=wait)
                    if lock is None:
                        taken.append(number)
                    elif self._find(number, damaged=damaged, say=True) is not None:
                        lock.release()
                        self._store.counts.found += 1
                        advance(len(self._pairs(number)))
                    else:
                        begun.append(self._begin(number, lock, pool))
                while begun:
                    failures |= self._end(begun[0], advance)
                    begun.popleft()
            finally:
                pool.shutdown(cancel_futures=True)
                for job in begun:
                    job.writer.discard()
                    job.lock.release()
        if failures:
            raise self._summary(failures)

    def _take(self, number: int, *, wait: bool) -> FileLock | None:
        lock = FileLock(self._store.root / "locks" / f"{self._files[number].stem}.lock")
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            return None
        except OSError as error:
            raise StoreError(
                f"store {self._store.root} cannot be locked: {error.strerror}; name another"
                " folder with --robustness-store"
            ) from error
        return lock

    def _begin(self, number: int, lock: FileLock, pool: ThreadPoolExecutor) -> _Job:
        pairs = self._pairs(number)
        try:
            writer = ChunkWriter(self._files[number], len(pairs))
        except StoreError:
            lock.release()
            raise
        images = [pool.submit(self._decode, writer, *item) for item in enumerate(pairs)]
        return _Job(number, lock, writer, images)

    def _decode(self, writer: ChunkWriter, place: int, pair: Pair) -> EvaluationSetError | None:
        try:
            image = self._evalset.decode(pair)
        except EvaluationSetError as error:
            return error
        if image.dtype != np.uint8 or image.ndim != 2 or not image.size:  # noqa: PLR2004
            return EvaluationSetError(
                f"image {pair.image_id!r} is decoded to {image.dtype} {list(image.shape)};"
                " an image is uint8 [height, width], neither of them 0"
            )
        writer.add(place, image)
        return None

    def _end(self, job: _Job, advance: Callable[[int], object]) -> dict[str, EvaluationSetError]:
        """Waits for a file's images and gives it its name, unless one of them failed."""
        failures = {}
        for pair, image in zip(self._pairs(job.number), job.images, strict=True):
            error = image.result()
            if error is not None:
                failures[pair.image_id] = error
            advance(1)
        if failures:
            job.writer.discard()
        else:
            job.writer.close()
            self._store.counts.computed += 1
        job.lock.release()
        return failures

    def _summary(self, failures: dict[str, EvaluationSetError]) -> EvaluationSetError:
        first = next(pair.image_id for pair in self._evalset.pairs if pair.image_id in failures)
        more = len(failures) - 1
        if not more:
            return failures[first]
        images = "image" if more == 1 else "images"
        return EvaluationSetError(
            f"{failures[first]} (and {more} more {images} of {len(self._evalset)} cannot be"
            f" decoded either; python -m robustness evalset {shlex.quote(self._evalset.spec)}"
            " --decode lists them)"
        )


def _cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
