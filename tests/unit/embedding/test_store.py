"""Store: entries are computed once, shared, written atomically, checked when read."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustness.embedding import Store
from robustness.errors import GateError


def entry_files(root):
    return sorted(root.glob("*/*.arrays"))


def numbers(seed=0):
    rng = np.random.default_rng(seed)
    return {"embeddings": rng.random((5, 3), dtype=np.float32), "hidden": rng.random(5)}


def never():
    raise AssertionError("computed although stored")


def test_a_stored_entry_is_not_computed_again(tmp_path):
    first, second = Store(tmp_path), Store(tmp_path)
    made = first.fetch({"a": 1}, numbers)
    found = second.fetch({"a": 1}, never)
    assert made.keys() == found.keys()
    assert all((made[name] == found[name]).all() for name in made)
    assert all(made[name].dtype == found[name].dtype for name in made)
    assert (first.counts.computed, first.counts.found) == (1, 0)
    assert (second.counts.computed, second.counts.found) == (0, 1)


def test_get_does_not_count(tmp_path):
    store = Store(tmp_path)
    assert store.get({"a": 1}) is None
    made = store.fetch({"a": 1}, numbers)
    found = store.get({"a": 1})
    assert all((made[name] == found[name]).all() for name in made)
    (entry,) = entry_files(tmp_path)
    entry.write_bytes(entry.read_bytes()[:-1])
    assert store.get({"a": 1}) is None
    assert (store.counts.computed, store.counts.found, store.counts.damaged) == (1, 0, 0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.text(max_size=3), json_values), min_size=2, max_size=5))
def test_different_keys_have_different_entries(tmp_path_factory, keys):
    store = Store(tmp_path_factory.mktemp("store"))
    # As JSON, since 1 and True are equal in Python and are not the same key.
    written = [json.dumps(key, sort_keys=True) for key in keys]
    for i, key in enumerate(keys):
        got = store.fetch(key, lambda i=i: {"x": np.array([i])})
        assert got["x"][0] == written.index(written[i])


def test_the_order_within_a_key_does_not_matter(tmp_path):
    store = Store(tmp_path)
    store.fetch({"a": 1, "b": 2}, numbers)
    store.fetch({"b": 2, "a": 1}, never)


# --- several entries -----------------------------------------------------------------


def test_missing_entries_are_computed_in_one_call(tmp_path):
    store, requested = Store(tmp_path), []
    keys = [{"key": number} for number in (5, 3, 9, 3)]
    store.fetch(keys[2], lambda: numbers(9))

    def compute(indexes):
        requested.append(list(indexes))
        return [numbers(keys[index]["key"]) for index in indexes]

    found = store.fetch_all(keys, compute)
    assert requested == [[0, 1]]
    for key, arrays in zip(keys, found, strict=True):
        assert (arrays["embeddings"] == numbers(key["key"])["embeddings"]).all()
    assert (store.counts.computed, store.counts.found) == (3, 1)
    again = Store(tmp_path)
    again.fetch_all(keys, lambda indexes: never())
    assert (again.counts.computed, again.counts.found) == (0, 3)
    assert again.fetch_all([], lambda indexes: never()) == []


def test_only_the_damaged_one_of_several_entries_is_computed_again(tmp_path, caplog):
    store = Store(tmp_path)
    keys = [{"key": number} for number in range(4)]
    store.fetch_all(keys, lambda indexes: [numbers(index) for index in indexes])
    store._path(keys[2]).write_bytes(b"damaged")
    store.fetch_all(keys, lambda indexes: [numbers(index) for index in indexes if index == 2])
    assert store.counts.damaged == 1
    assert caplog.text.count("is damaged") == 1
    Store(tmp_path).fetch_all(keys, lambda indexes: never())


def test_entries_written_before_an_error_stay(tmp_path, monkeypatch):
    import robustness.embedding._store as module

    store, written = Store(tmp_path), []
    write = module.write_whole

    def full(path, *parts):
        if written:
            raise OSError(28, "No space left on device")
        written.append(path)
        write(path, *parts)

    monkeypatch.setattr(module, "write_whole", full)
    keys = [{"key": number} for number in range(3)]
    with pytest.raises(GateError, match="No space left on device; free disk space"):
        store.fetch_all(keys, lambda indexes: [numbers(index) for index in indexes])
    monkeypatch.undo()
    assert entry_files(tmp_path) == written
    assert not list(tmp_path.rglob("*.partial"))
    Store(tmp_path).fetch_all(
        keys,
        lambda indexes: [numbers(index) for index in indexes] if len(indexes) == 2 else never(),
    )


def _fetch_all_slowly(root, log, order):
    def compute(indexes):
        with log.open("a") as file:
            file.writelines(f"{order[index]}\n" for index in indexes)
        time.sleep(0.05)
        return [numbers(order[index]) for index in indexes]

    Store(root).fetch_all([{"key": number} for number in order], compute)


def test_processes_with_any_order_of_keys_neither_deadlock_nor_compute_twice(tmp_path):
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    rng = np.random.default_rng(0)
    processes = [
        context.Process(
            target=_fetch_all_slowly,
            args=(tmp_path / "store", log, rng.permutation(9)[:6].tolist()),
        )
        for _ in range(8)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 8
    computed = log.read_text().split()
    assert sorted(computed) == sorted(set(computed))


# --- what is damaged, fails or dies --------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda content: content[:20],
        lambda content: content[:-1],
        lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
        lambda content: bytes([content[0] ^ 255]) + content[1:],
        lambda content: b"\0" * len(content),
    ],
    ids=["empty", "header", "short", "bit", "checksum", "zeros"],
)
def test_a_damaged_entry_is_computed_again_with_a_warning(tmp_path, damage, caplog):
    store = Store(tmp_path)
    made = store.fetch({"a": 1}, numbers)
    (path,) = entry_files(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    again = store.fetch({"a": 1}, numbers)
    assert (again["embeddings"] == made["embeddings"]).all()
    assert store.counts.damaged == 1
    assert str(path) in caplog.text
    assert "damaged" in caplog.text
    Store(tmp_path).fetch({"a": 1}, never)


def test_an_error_while_computing_leaves_no_entry(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(AssertionError):
        store.fetch({"a": 1}, never)
    assert entry_files(tmp_path) == []
    store.fetch({"a": 1}, numbers)


def test_an_error_while_writing_is_one_line_and_leaves_no_file(tmp_path, monkeypatch):
    store = Store(tmp_path)

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GateError, match="No space left on device; free disk space") as caught:
        store.fetch({"a": 1}, numbers)
    assert "\n" not in str(caught.value)
    assert not [p for p in tmp_path.rglob("*") if p.suffix in {".arrays", ".partial"}]


def test_the_error_of_a_folder_that_cannot_be_created_names_the_option(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GateError, match="--robustness-store"):
        Store(tmp_path / "file" / "store")


def _fetch_slowly(root, log, key):
    def compute():
        with log.open("a") as file:
            file.write(f"{key}\n")
        time.sleep(0.2)
        return numbers(key)

    Store(root).fetch({"key": key}, compute)


def test_concurrent_processes_compute_an_entry_once(tmp_path):
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_fetch_slowly, args=(tmp_path / "store", log, i % 2))
        for i in range(6)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 6
    assert sorted(log.read_text().split()) == ["0", "1"]


def test_a_killed_process_leaves_no_entry_and_no_lock(tmp_path):
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_fetch_slowly, args=(tmp_path / "store", tmp_path / "log", 3))
    process.start()
    while not (tmp_path / "log").exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    assert entry_files(tmp_path / "store") == []
    Store(tmp_path / "store").fetch({"key": 3}, lambda: numbers(3))
    assert len(entry_files(tmp_path / "store")) == 1
