"""Decode the images of a set once, at first use, into files that are memory-mapped.

Images are decoded on all cores and stored by content, :data:`CHUNK_SIZE` per file. Processes
with the same store share the work: each one takes files that no other has taken. An image is a
view of its file, so it takes no memory except the page cache.
"""

from __future__ import annotations

import hashlib
import json
import logging
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

from robustness._util.environment import cores
from robustness._util.progress import Stream, progress
from robustness._util.text import counted
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

CHUNK_SIZE = 128
"""Images per file; if one image changes, all images of its file are decoded again."""

MAX_MAPPED = 4
"""Files that a process keeps mapped, besides those with an image in use."""

logger = logging.getLogger(__name__)


def decode_once(
    evalset: EvaluationSet, store: Store, *, stream: Stream | None = None
) -> EvaluationSet:
    """Return the set with a decoder that decodes each image once per store.

    The first image requested decodes all images of the set. Decoded images are read-only. All
    images of a damaged file are decoded again.

    Args:
        evalset: The set; its ``decode`` is called from several threads.
        store: Store of the decoded images; the digests of their pairs are the key.
        stream: Stream for a progress bar; shown if it is a terminal.

    Returns:
        The set. Its ``decode`` raises EvaluationSetError if an image cannot be decoded (the
        others are), and StoreError if the images cannot be written or read.
    """
    return replace(evalset, decode=_Decoder(evalset, store, stream).decode)


@dataclass(frozen=True, slots=True)
class _Job:
    """Chunk file that this process is writing."""

    number: int
    lock: FileLock
    writer: ChunkWriter
    errors: list[Future[EvaluationSetError | None]]


class _Decoder:
    def __init__(self, evalset: EvaluationSet, store: Store, stream: Stream | None) -> None:
        self._evalset = evalset
        self._store = store
        self._stream = stream
        self._positions = {p.image_id: divmod(i, CHUNK_SIZE) for i, p in enumerate(evalset.pairs)}
        self._paths: list[Path] = []
        self._failure: GateError | None = None
        self._mapped: OrderedDict[int, Chunk] = OrderedDict()
        self._checked: dict[tuple[int, Identity], bytearray] = {}
        self._lock = threading.Lock()

    def decode(self, pair: Pair) -> Image:
        """Return the image of a pair, read-only; its checksum is verified at first use."""
        number, index = self._positions[pair.image_id]
        for _ in range(2):
            with self._lock:
                if not self._paths:
                    self._prepare()
                chunk = self._chunk(number)
            checked = self._checked.setdefault((number, chunk.identity), bytearray(len(chunk)))
            checked[index] = checked[index] or chunk.intact(index)
            if checked[index]:
                return chunk.image(index)
            with self._lock:
                self._mapped.pop(number, None)
                self._make([number], damaged=chunk)
        raise StoreError(
            f"decoded images {self._paths[number]} are damaged again right after they were"
            " written; use a folder on another disk with --robustness-store"
        )

    def _prepare(self) -> None:
        """Decode the images that are not stored; a failure is not retried."""
        if self._failure:
            raise type(self._failure)(str(self._failure), self._failure.code)
        numbers = range(-(-len(self._evalset) // CHUNK_SIZE))
        try:
            self._paths = [self._path(number) for number in numbers]
            self._make(numbers)
        except GateError as error:
            self._paths, self._failure = [], error
            raise

    def _pairs(self, number: int) -> tuple[Pair, ...]:
        return self._evalset.pairs[number * CHUNK_SIZE : (number + 1) * CHUNK_SIZE]

    def _path(self, number: int) -> Path:
        key = json.dumps([SCHEMA, [pair.digest for pair in self._pairs(number)]])
        name = hashlib.sha256(key.encode()).hexdigest()
        return self._store.root / name[:2] / f"{name}.images"

    # --- reading ---------------------------------------------------------------------

    def _chunk(self, number: int) -> Chunk:
        if number not in self._mapped:
            chunk = self._find(number)
            if chunk is None:
                self._make([number])
                chunk = open_chunk(self._paths[number], len(self._pairs(number)))
            self._mapped[number] = chunk
        self._mapped.move_to_end(number)
        while len(self._mapped) > MAX_MAPPED:
            self._mapped.popitem(last=False)
        return self._mapped[number]

    def _find(
        self, number: int, *, damaged: Chunk | None = None, report_damage: bool = False
    ) -> Chunk | None:
        """Open a file; return None if it is missing, damaged, or known to be damaged."""
        path = self._paths[number]
        try:
            chunk = open_chunk(path, len(self._pairs(number)))
        except FileNotFoundError:
            return None
        except DamagedError:
            chunk = None
        if chunk is not None and not (damaged and chunk.same_file(damaged)):
            return chunk
        if report_damage:
            self._store.counts.damaged += 1
            logger.warning("decoded images %s are damaged and are decoded again", path)
        return None

    # --- decoding --------------------------------------------------------------------

    def _make(self, numbers: Sequence[int], *, damaged: Chunk | None = None) -> None:
        """Write the files that are missing; wait for those that other processes are writing."""
        missing = [n for n in numbers if self._find(n, damaged=damaged) is None]
        self._store.counts.found += len(numbers) - len(missing)
        if not missing:
            return
        images = sum(len(self._pairs(number)) for number in missing)
        failures: dict[str, EvaluationSetError] = {}
        with progress(images, "decoding", "images", self._stream) as advance:
            pool = ThreadPoolExecutor(cores(), thread_name_prefix="decode")
            jobs: deque[_Job] = deque()
            locked_elsewhere: list[int] = []
            try:
                for number in chain(missing, locked_elsewhere):
                    wait = number in locked_elsewhere
                    # A file is started before the previous one is finished, so that no core
                    # waits for the disk; but none while this process waits for another one.
                    while len(jobs) > (0 if wait else 1):
                        failures |= self._finish(jobs[0], advance)
                        jobs.popleft()
                    lock = self._acquire(number, wait=wait)
                    if lock is None:
                        locked_elsewhere.append(number)
                    elif self._find(number, damaged=damaged, report_damage=True) is not None:
                        lock.release()
                        self._store.counts.found += 1
                        advance(len(self._pairs(number)))
                    else:
                        jobs.append(self._start(number, lock, pool))
                while jobs:
                    failures |= self._finish(jobs[0], advance)
                    jobs.popleft()
            finally:
                pool.shutdown(cancel_futures=True)
                for job in jobs:
                    job.writer.discard()
                    job.lock.release()
        if failures:
            raise self._summary(failures)

    def _acquire(self, number: int, *, wait: bool) -> FileLock | None:
        """Lock a file; return None if another process has the lock and this one must not wait."""
        lock = FileLock(self._store.root / "locks" / f"{self._paths[number].stem}.lock")
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            return None
        except OSError as error:
            raise StoreError(
                f"store {self._store.root} cannot be locked: {error.strerror}; use another"
                " folder with --robustness-store"
            ) from error
        return lock

    def _start(self, number: int, lock: FileLock, pool: ThreadPoolExecutor) -> _Job:
        pairs = self._pairs(number)
        try:
            writer = ChunkWriter(self._paths[number], len(pairs))
        except StoreError:
            lock.release()
            raise
        errors = [pool.submit(self._decode, writer, *item) for item in enumerate(pairs)]
        return _Job(number, lock, writer, errors)

    def _decode(self, writer: ChunkWriter, index: int, pair: Pair) -> EvaluationSetError | None:
        try:
            image = self._evalset.decode(pair)
        except EvaluationSetError as error:
            return error
        if image.dtype != np.uint8 or image.ndim != 2 or not image.size:  # noqa: PLR2004
            return EvaluationSetError(
                f"image {pair.image_id!r} is decoded to {image.dtype} {list(image.shape)};"
                " an image is uint8 [height, width], neither of them 0"
            )
        writer.add(index, image)
        return None

    def _finish(self, job: _Job, advance: Callable[[int], object]) -> dict[str, EvaluationSetError]:
        """Wait for a file's images; complete the file, or discard it if one of them failed."""
        failures = {}
        for pair, future in zip(self._pairs(job.number), job.errors, strict=True):
            error = future.result()
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
        if len(failures) == 1:
            return failures[first]
        return EvaluationSetError(
            f"{failures[first]} (and {counted(len(failures) - 1, 'more image')} of"
            f" {len(self._evalset)} cannot be decoded either; python -m robustness evalset"
            f" {shlex.quote(self._evalset.spec)} --decode lists them)"
        )
