"""Decode once: damaged files are decoded again, and errors leave no partial file."""

from __future__ import annotations

import errno
import logging
import shlex
from pathlib import Path

import numpy as np
import pytest
from support.decoded_images import Source, files, holds_all, pixels

from robustness.embedding import Store, decode_once
from robustness.embedding._decoded import CHUNK_SIZE
from robustness.errors import EvaluationSetError, StoreError
from robustness.evalset import EvaluationSet

# --- damage --------------------------------------------------------------------------


def flip(position):
    def damage(content):
        return content[:position] + bytes([content[position] ^ 1]) + content[position:][1:]

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content[:-432],
        lambda content: content + b"\0",
        lambda content: content[1:],
        lambda content: b"\0" * len(content),
        flip(0),
        flip(900),
        flip(-40),
        flip(-1),
    ],
    ids=["empty", "short", "half", "no-index", "long", "shifted", "zeros", "first", "pixel",
         "index", "hash"],
)  # fmt: skip
def test_a_damaged_file_is_decoded_again_with_a_warning(tmp_path, damage, caplog):
    source = Source(20)
    decode_once(source.set(), Store(tmp_path)).decode(source.pairs[0])
    (path,) = files(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    store = Store(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert holds_all(decode_once(source.set(), store))
    assert set(source.decoded.values()) == {2}
    assert (store.counts.damaged, store.counts.computed) == (1, 1)
    assert caplog.text.count("are damaged and are decoded again") == 1
    assert str(path) in caplog.text
    assert holds_all(decode_once(Source(20).set(), Store(tmp_path)))


def test_damage_during_a_run_is_repaired_once_for_all_processes(tmp_path):
    source = Source(2 * CHUNK_SIZE)
    one, other = Store(tmp_path), Store(tmp_path)
    first, second = decode_once(source.set(), one), decode_once(source.set(), other)
    first.decode(source.pairs[0])
    second.decode(source.pairs[0])
    broken = next(p for p in files(tmp_path) if p.read_bytes().startswith(pixels(0).tobytes())
                  or pixels(1).tobytes() in p.read_bytes())  # fmt: skip
    content = broken.read_bytes()
    position = content.index(pixels(1).tobytes())
    with broken.open("r+b") as file:
        file.seek(position)
        file.write(bytes([content[position] ^ 255]))
    assert holds_all(first)
    assert holds_all(second)
    assert one.counts.damaged + other.counts.damaged == 1
    assert max(source.decoded.values()) == 2


def test_a_deleted_file_is_decoded_again(tmp_path):
    source = Source(5)
    evalset = decode_once(source.set(), Store(tmp_path))
    evalset.decode(source.pairs[0])
    (path,) = files(tmp_path)
    path.unlink()
    assert holds_all(decode_once(source.set(), Store(tmp_path)))
    assert set(source.decoded.values()) == {2}


def test_a_partial_file_of_a_killed_process_is_overwritten(tmp_path):
    source = Source(5)
    decode_once(source.set(), Store(tmp_path)).decode(source.pairs[0])
    (path,) = files(tmp_path)
    path.with_suffix(".partial").write_bytes(path.read_bytes()[:50] * 100)
    path.unlink()
    assert holds_all(decode_once(source.set(), Store(tmp_path)))
    assert not files(tmp_path, "partial")


# --- errors --------------------------------------------------------------------------


def test_undecodable_images_of_the_whole_set_are_counted(tmp_path):
    source = Source(3 * CHUNK_SIZE)
    source.broken = {CHUNK_SIZE + 5, 9, CHUNK_SIZE + 1, 2 * CHUNK_SIZE}
    evalset = decode_once(source.set(), Store(tmp_path))
    for _ in range(2):
        with pytest.raises(EvaluationSetError) as caught:
            evalset.decode(evalset.pairs[-1])
        assert str(caught.value) == (
            "image image-9 cannot be decoded (and 3 more images of 384 cannot be decoded either;"
            f" python -m robustness evalset {shlex.quote(evalset.spec)} --decode lists them)"
        )
    assert set(source.decoded.values()) == {1}
    assert not files(tmp_path)
    assert not files(tmp_path, "partial")
    source.broken.clear()
    assert holds_all(decode_once(source.set(), Store(tmp_path)))


def test_a_single_error_is_raised_unchanged_and_costs_one_file(tmp_path):
    source = Source(2 * CHUNK_SIZE)
    source.broken = {3}
    evalset = decode_once(source.set(), Store(tmp_path))
    with pytest.raises(EvaluationSetError, match=r"^image image-3 cannot be decoded$"):
        evalset.decode(evalset.pairs[0])
    assert len(files(tmp_path)) == 1
    source.broken.clear()
    assert holds_all(decode_once(source.set(), Store(tmp_path)))
    assert all(source.decoded[n] == 1 for n in range(CHUNK_SIZE, 2 * CHUNK_SIZE))


def test_an_invalid_image_is_named(tmp_path):
    pairs = Source(2).pairs
    evalset = EvaluationSet("made", pairs, lambda _: np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(EvaluationSetError, match=r"'image-0' is decoded to uint8 \[2, 2, 3\]"):
        decode_once(evalset, Store(tmp_path)).decode(pairs[0])


def test_a_bug_in_a_decoder_is_raised_and_leaves_no_file(tmp_path):
    def decode(pair):
        raise ZeroDivisionError

    pairs = Source(200).pairs
    with pytest.raises(ZeroDivisionError):
        decode_once(EvaluationSet("made", pairs, decode), Store(tmp_path)).decode(pairs[0])
    assert not files(tmp_path)
    assert not files(tmp_path, "partial")


@pytest.mark.parametrize("when", ["at once", "later", "at the end"])
def test_a_full_disk_is_a_one_line_error_and_leaves_no_file(tmp_path, monkeypatch, when):
    import robustness.embedding._chunk as module

    room = {"at once": 0, "later": 3000, "at the end": 10**9}[when]

    class FullDisk:
        """File on a nearly full disk; a write that does not fit is incomplete."""

        def __init__(self, file):
            self._file, self._room = file, room

        def write(self, data):
            if not self._room:
                raise OSError(errno.ENOSPC, "No space left on device")
            taken = self._file.write(data[: self._room])
            self._room -= taken
            return taken

        def __getattr__(self, name):
            return getattr(self._file, name)

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    opened = Path.open

    def open_full(path, mode="r", **settings):
        file = opened(path, mode, **settings)
        return FullDisk(file) if path.suffix == ".partial" else file

    if when == "at the end":
        monkeypatch.setattr(module.os, "fsync", full)
    monkeypatch.setattr(Path, "open", open_full)
    source = Source(3 * CHUNK_SIZE)
    evalset = decode_once(source.set(), Store(tmp_path))
    with pytest.raises(StoreError, match="No space left on device; free disk space") as caught:
        evalset.decode(evalset.pairs[0])
    assert "\n" not in str(caught.value)
    assert not files(tmp_path)
    assert not files(tmp_path, "partial")
    monkeypatch.undo()
    assert holds_all(decode_once(source.set(), Store(tmp_path)))
