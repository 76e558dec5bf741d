"""Decoding once: shared, checked, written whole, bounded in memory."""

from __future__ import annotations

import errno
import json
import logging
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robustness.embedding import Store, decode_once
from robustness.embedding._decoded import CHUNK
from robustness.errors import EvaluationSetError, StoreError
from robustness.evalset import EvaluationSet, Pair, Report
from robustness.occlusion import Occlusion

REPOSITORY = Path(__file__).parents[1]


def pixels(number):
    """An image that differs from every other, of a size of its own."""
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (8 + number % 5, 6 + number % 7), np.uint8)


def make_pair(number, *, digest=None, prefix="image"):
    name = f"{prefix}-{number}"
    return Pair(name, name, name, "PA", Report(findings="Clear."), digest or f"digest-{number}")


class Source:
    """A set whose images are made from their numbers, and which counts the decodes."""

    def __init__(self, n, **settings):
        self.pairs = tuple(make_pair(number, **settings) for number in range(n))
        self.decoded = Counter()
        self.broken = set()
        self.threads = set()

    def decode(self, pair):
        number = int(pair.image_id.rpartition("-")[2])
        self.decoded[number] += 1
        self.threads.add(threading.get_ident())
        if number in self.broken:
            raise EvaluationSetError(f"image {pair.image_id} cannot be decoded")
        return pixels(number)

    def set(self):
        return EvaluationSet("made", self.pairs, self.decode)


def files(root, suffix="images"):
    return sorted(root.rglob(f"*.{suffix}"))


def holds_all(evalset):
    return all(
        (evalset.decode(p) == pixels(int(p.image_id.rpartition("-")[2]))).all()
        for p in evalset.pairs
    )


# --- what is decoded -----------------------------------------------------------------


def test_nothing_is_decoded_before_the_first_use_and_everything_at_it(tmp_path):
    source = Source(2 * CHUNK + 5)
    store = Store(tmp_path)
    evalset = decode_once(source.set(), store)
    assert not source.decoded
    evalset.decode(evalset.pairs[7])
    assert source.decoded == Counter(range(2 * CHUNK + 5))
    assert threading.get_ident() not in source.threads
    assert holds_all(evalset)
    assert source.decoded == Counter(range(2 * CHUNK + 5))
    assert (store.counts.computed, store.counts.found, store.counts.damaged) == (3, 0, 0)


def test_a_later_run_decodes_nothing(tmp_path):
    first, second = Source(CHUNK + 1), Source(CHUNK + 1)
    decode_once(first.set(), Store(tmp_path)).decode(first.pairs[0])
    store = Store(tmp_path)
    assert holds_all(decode_once(second.set(), store))
    assert not second.decoded
    assert (store.counts.computed, store.counts.found, store.counts.damaged) == (0, 2, 0)


def test_the_same_content_under_another_name_is_found(tmp_path):
    first, second = Source(20), Source(20, prefix="other")
    decode_once(first.set(), Store(tmp_path)).decode(first.pairs[0])
    assert holds_all(decode_once(second.set(), Store(tmp_path)))
    assert not second.decoded


def test_one_changed_image_costs_one_file(tmp_path):
    source = Source(3 * CHUNK)
    decode_once(source.set(), Store(tmp_path)).decode(source.pairs[0])
    source.decoded.clear()
    changed = list(source.pairs)
    changed[CHUNK + 3] = replace(changed[CHUNK + 3], digest="another")
    evalset = EvaluationSet("made", tuple(changed), source.decode)
    store = Store(tmp_path)
    assert holds_all(decode_once(evalset, store))
    assert source.decoded == Counter(range(CHUNK, 2 * CHUNK))
    assert (store.counts.computed, store.counts.found) == (1, 2)


def test_a_subset_reads_what_its_set_decoded(tmp_path):
    source = Source(CHUNK + 40)
    evalset = decode_once(source.set(), Store(tmp_path))
    part = evalset.subset([CHUNK + 30, 2, CHUNK - 1])
    assert [p.image_id for p in part.pairs] == [f"image-{CHUNK + 30}", "image-2", "image-127"]
    assert holds_all(part)
    assert holds_all(evalset)
    assert set(source.decoded.values()) == {1}


def test_images_are_read_only_views_that_callers_can_work_with(tmp_path):
    source = Source(3)
    evalset = decode_once(source.set(), Store(tmp_path))
    image = evalset.decode(evalset.pairs[1])
    assert (type(image), image.dtype, image.shape) == (np.ndarray, np.uint8, pixels(1).shape)
    assert not image.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        image[0, 0] = 1
    for level in (0, 0.5):
        hidden = Occlusion("square", level).apply(image, "image-1")
        assert hidden.flags.writeable
    assert (image == pixels(1)).all()


def test_an_image_outlives_the_files_that_are_let_go(tmp_path):
    source = Source(8 * CHUNK)
    evalset = decode_once(source.set(), Store(tmp_path))
    kept = evalset.decode(evalset.pairs[0])
    assert holds_all(evalset)
    for path in files(tmp_path):
        path.unlink()
    assert (kept == pixels(0)).all()


def test_published_models_take_read_only_images(tmp_path):
    from robustness.embedding import embed_images
    from robustness.encoder import load
    from robustness.evalset import load as load_evalset

    plain = load_evalset("phantom:3")
    evalset = decode_once(plain, Store(tmp_path))
    encoder = load("models.phantom:load", weights=None, device="cpu")
    from_cache = embed_images(encoder, [evalset.decode(p) for p in evalset.pairs])
    direct = embed_images(encoder, [plain.decode(p) for p in plain.pairs])
    assert (from_cache == direct).all()


# --- what is damaged -----------------------------------------------------------------


def flip(place):
    def damage(content):
        return content[:place] + bytes([content[place] ^ 1]) + content[place:][1:]

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
def test_a_damaged_file_is_decoded_anew_and_said_so(tmp_path, damage, caplog):
    source = Source(20)
    decode_once(source.set(), Store(tmp_path)).decode(source.pairs[0])
    (path,) = files(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    store = Store(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert holds_all(decode_once(source.set(), store))
    assert set(source.decoded.values()) == {2}
    assert (store.counts.damaged, store.counts.computed) == (1, 1)
    assert caplog.text.count("are damaged and are decoded anew") == 1
    assert str(path) in caplog.text
    assert holds_all(decode_once(Source(20).set(), Store(tmp_path)))


def test_damage_while_a_run_goes_on_is_repaired_once_for_all(tmp_path):
    source = Source(2 * CHUNK)
    one, other = Store(tmp_path), Store(tmp_path)
    first, second = decode_once(source.set(), one), decode_once(source.set(), other)
    first.decode(source.pairs[0])
    second.decode(source.pairs[0])
    broken = next(p for p in files(tmp_path) if p.read_bytes().startswith(pixels(0).tobytes())
                  or pixels(1).tobytes() in p.read_bytes())  # fmt: skip
    content = broken.read_bytes()
    place = content.index(pixels(1).tobytes())
    with broken.open("r+b") as file:
        file.seek(place)
        file.write(bytes([content[place] ^ 255]))
    assert holds_all(first)
    assert holds_all(second)
    assert one.counts.damaged + other.counts.damaged == 1
    assert max(source.decoded.values()) == 2


def test_a_file_that_vanishes_is_decoded_anew(tmp_path):
    source = Source(5)
    evalset = decode_once(source.set(), Store(tmp_path))
    evalset.decode(source.pairs[0])
    (path,) = files(tmp_path)
    path.unlink()
    assert holds_all(decode_once(source.set(), Store(tmp_path)))
    assert set(source.decoded.values()) == {2}


def test_what_a_killed_process_left_half_written_is_written_over(tmp_path):
    source = Source(5)
    decode_once(source.set(), Store(tmp_path)).decode(source.pairs[0])
    (path,) = files(tmp_path)
    path.with_suffix(".partial").write_bytes(path.read_bytes()[:50] * 100)
    path.unlink()
    assert holds_all(decode_once(source.set(), Store(tmp_path)))
    assert not files(tmp_path, "partial")


# --- what fails ----------------------------------------------------------------------


def test_images_that_cannot_be_decoded_are_counted_over_the_set(tmp_path):
    source = Source(3 * CHUNK)
    source.broken = {CHUNK + 5, 9, CHUNK + 1, 2 * CHUNK}
    evalset = decode_once(source.set(), Store(tmp_path))
    for _ in range(2):
        with pytest.raises(EvaluationSetError) as caught:
            evalset.decode(evalset.pairs[-1])
        assert str(caught.value) == (
            "image image-9 cannot be decoded (and 3 more images of 384 cannot be decoded either)"
        )
    assert set(source.decoded.values()) == {1}
    assert not files(tmp_path)
    assert not files(tmp_path, "partial")
    source.broken.clear()
    assert holds_all(decode_once(source.set(), Store(tmp_path)))


def test_a_single_failure_is_the_decoder_s_own_and_costs_one_file(tmp_path):
    source = Source(2 * CHUNK)
    source.broken = {3}
    evalset = decode_once(source.set(), Store(tmp_path))
    with pytest.raises(EvaluationSetError, match=r"^image image-3 cannot be decoded$"):
        evalset.decode(evalset.pairs[0])
    assert len(files(tmp_path)) == 1
    source.broken.clear()
    assert holds_all(decode_once(source.set(), Store(tmp_path)))
    assert all(source.decoded[n] == 1 for n in range(CHUNK, 2 * CHUNK))


def test_an_image_of_a_wrong_kind_is_named(tmp_path):
    pairs = Source(2).pairs
    evalset = EvaluationSet("made", pairs, lambda _: np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(EvaluationSetError, match=r"'image-0' is decoded to uint8 \[2, 2, 3\]"):
        decode_once(evalset, Store(tmp_path)).decode(pairs[0])


def test_a_bug_in_a_decoder_is_not_hidden_and_leaves_nothing(tmp_path):
    def decode(pair):
        raise ZeroDivisionError

    pairs = Source(200).pairs
    with pytest.raises(ZeroDivisionError):
        decode_once(EvaluationSet("made", pairs, decode), Store(tmp_path)).decode(pairs[0])
    assert not files(tmp_path)
    assert not files(tmp_path, "partial")


@pytest.mark.parametrize("when", ["at once", "later", "at the end"])
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path, monkeypatch, when):
    import robustness.embedding._chunk as module

    room = {"at once": 0, "later": 3000, "at the end": 10**9}[when]

    class FullDisk:
        """A file on a disk with little room; takes a part of the write that does not fit."""

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
    source = Source(3 * CHUNK)
    evalset = decode_once(source.set(), Store(tmp_path))
    with pytest.raises(StoreError, match="No space left on device; free some room") as caught:
        evalset.decode(evalset.pairs[0])
    assert "\n" not in str(caught.value)
    assert not files(tmp_path)
    assert not files(tmp_path, "partial")
    monkeypatch.undo()
    assert holds_all(decode_once(source.set(), Store(tmp_path)))


# --- processes -----------------------------------------------------------------------

WORKER = """
import json, os, resource, sys, time
import numpy as np
from pathlib import Path
from robustness.embedding import Store, decode_once
from robustness.evalset import EvaluationSet, Pair, Report

root, images, side, log = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]

def decode(pair):
    image = np.full((side, side), int(pair.image_id) % 251, np.uint8)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{pair.image_id} {os.getpid()}\\n".encode())
    os.close(descriptor)
    return image

pairs = tuple(Pair(str(i), str(i), str(i), "PA", Report(findings="x"), f"d{i}")
              for i in range(images))
store = Store(root)
evalset = decode_once(EvaluationSet("made", pairs, decode), store)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
evalset.decode(pairs[0])
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
right = all((evalset.decode(p) == int(p.image_id) % 251).all() for p in pairs)
print(json.dumps({"right": right, "grown": (after - before) / 1024, "found": store.counts.found,
                  "computed": store.counts.computed, "damaged": store.counts.damaged}))
"""


def start(tmp_path, images, side):
    command = [sys.executable, "-c", WORKER, tmp_path / "store", images, side, tmp_path / "log"]
    return subprocess.Popen(
        [str(part) for part in command], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )


def test_processes_at_once_share_the_work_and_decode_each_image_once(tmp_path):
    images = 12 * CHUNK
    processes = [start(tmp_path, images, 64) for _ in range(4)]
    outcomes = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert all(outcome["right"] for outcome in outcomes)
    decoded = [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()]
    assert Counter(decoded) == Counter(str(number) for number in range(images))
    assert sum(outcome["computed"] for outcome in outcomes) == 12
    assert all(outcome["computed"] + outcome["found"] == 12 for outcome in outcomes)
    assert all(outcome["damaged"] == 0 for outcome in outcomes)


def test_the_memory_of_the_first_pass_is_that_of_a_few_images_not_of_the_set(tmp_path):
    # 600 images of 1 MB: the set is 600 MB, a file of it 128 MB.
    process = start(tmp_path, 600, 1024)
    outcome = json.loads(process.communicate(timeout=120)[0])
    assert outcome["right"]
    assert outcome["grown"] < 64
