"""What is remembered of a model, and everything that makes it be loaded again."""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module

import pytest

from models import phantom
from robustness.encoder import load
from robustness.errors import StoreError
from robustness.loading import Loading
from robustness.remembered import Facts, RememberedEncoder, load_or_recall, recall, remember
from robustness.stamps import SETTLED, Stamps

NEVER = 2.0**40
"""Later than any file is changed."""


@pytest.fixture(scope="module")
def encoder():
    return phantom.load()


@pytest.fixture
def settled(monkeypatch):
    """Every file counts as left alone: a test cannot wait for those it writes."""
    monkeypatch.setattr("robustness.stamps.SETTLED", -60.0)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights" / "model.safetensors"
    path.parent.mkdir()
    path.write_bytes(phantom.WEIGHTS.read_bytes())
    return path


def loading(weights=None, **options):
    return Loading("models.phantom:load", weights, options)


def kept(weights, encoder, store, **options):
    """Loads and remembers, as the gate does."""
    began = time.time()
    how = loading(weights, **options)
    loaded = load("models.phantom:load", weights=weights)
    remember(how, loaded, store, began=began)
    return how


def test_the_facts_come_back(settled, encoder, tmp_path):
    how = kept(None, encoder, tmp_path)
    assert recall(how, tmp_path).facts == Facts.of(encoder)
    assert Facts.of(encoder).name == "PhantomEncoder"


def test_a_named_checkpoint_is_remembered(settled, encoder, weights, tmp_path):
    how = kept(weights, encoder, tmp_path)
    assert recall(how, tmp_path).facts.checkpoint == str(weights)
    assert recall(loading(None), tmp_path) is None


@pytest.mark.parametrize("same_time", [False, True])
def test_another_content_of_the_checkpoint_is_seen(settled, encoder, weights, tmp_path, same_time):
    """Even where size and time of change are as before: a training overwrites its file."""
    how = kept(weights, encoder, tmp_path)
    before = weights.stat()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    if same_time:
        os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert recall(how, tmp_path) is None


def test_a_checkpoint_that_is_gone_is_not_remembered(settled, encoder, weights, tmp_path):
    how = kept(weights, encoder, tmp_path)
    weights.unlink()
    assert recall(how, tmp_path) is None


def test_what_was_just_written_is_not_trusted(encoder, weights, tmp_path):
    assert SETTLED >= 2
    how = kept(weights, encoder, tmp_path)
    assert recall(how, tmp_path) is None
    assert not how.at(tmp_path).exists()


def test_what_was_written_while_the_model_was_loaded_is_not_trusted(settled, weights, tmp_path):
    """What was read may have been what was there before."""
    how, began = loading(weights), weights.stat().st_mtime - 61
    assert remember(how, phantom.load(weights), tmp_path, began=began) is None
    assert remember(how, phantom.load(weights), tmp_path, began=NEVER)
    assert recall(how, tmp_path)


def test_a_checkpoint_from_elsewhere_is_not_remembered(settled, encoder, weights, tmp_path):
    """As a hub's cache: the same request may lead to another file tomorrow."""
    elsewhere = phantom.load(weights)
    remember(loading(None), elsewhere, tmp_path, began=NEVER)
    assert recall(loading(None), tmp_path) is None


def test_the_folder_of_checkpoints_is_remembered_by_its_name(
    settled, weights, tmp_path, monkeypatch
):
    monkeypatch.setenv("ROBUSTNESS_WEIGHTS", str(weights.parent))
    remember(loading(None), phantom.load(weights), tmp_path, began=NEVER)
    assert recall(loading(None), tmp_path)
    monkeypatch.setenv("ROBUSTNESS_WEIGHTS", str(tmp_path))
    assert recall(loading(None), tmp_path) is None


def test_a_model_without_a_checkpoint_is_loaded_each_time(settled, tmp_path):
    without = phantom.load()
    without.checkpoint = None
    remember(loading(), without, tmp_path, began=NEVER)
    assert recall(loading(), tmp_path) is None


def test_another_option_is_another_model(settled, encoder, weights, tmp_path):
    how = loading(weights, size="small")
    remember(how, encoder, tmp_path, began=NEVER)
    assert recall(how, tmp_path)
    assert recall(loading(weights, size="large"), tmp_path) is None


def test_a_file_that_an_option_names_is_watched(settled, encoder, weights, tmp_path):
    words = tmp_path / "vocab.txt"
    words.write_text("one")
    how = loading(weights, tokenizer=str(words))
    remember(how, encoder, tmp_path, began=NEVER)
    assert recall(how, tmp_path)
    words.write_text("two")
    assert recall(how, tmp_path) is None


def test_another_version_of_a_library_is_seen(settled, encoder, weights, tmp_path, monkeypatch):
    kept(weights, encoder, tmp_path)
    monkeypatch.setattr("robustness.loading._installed", lambda: ["torch 1.0"])
    assert recall(loading(weights), tmp_path) is None


def test_the_loaders_code_is_watched(settled, weights, tmp_path, monkeypatch):
    package = tmp_path / "ours"
    package.mkdir()
    (package / "__init__.py").write_text("from models.phantom import load\n")
    (package / "words.txt").write_text("what the code reads\n")
    monkeypatch.syspath_prepend(tmp_path)
    how = Loading("ours:load", weights, {})
    try:
        remember(how, load("ours:load", weights=weights), tmp_path, began=NEVER)
        assert recall(how, tmp_path)
        (package / "words.txt").write_text("what it reads now\n")
        assert recall(how, tmp_path) is None
        remember(how, load("ours:load", weights=weights), tmp_path, began=NEVER)
        assert recall(how, tmp_path)
        (package / "added.py").write_text("")
        assert recall(how, tmp_path) is None
    finally:
        sys.modules.pop("ours", None)


def test_code_beside_the_loader_is_watched(settled, weights, tmp_path, monkeypatch):
    """A module that the loader imports, outside its package."""
    (tmp_path / "beside.py").write_text("SCALE = 1\n")
    (tmp_path / "mine.py").write_text("import beside\nfrom models.phantom import load\n")
    monkeypatch.syspath_prepend(tmp_path)
    how = Loading("mine:load", weights, {})
    try:
        remember(how, load("mine:load", weights=weights), tmp_path, began=NEVER)
        assert recall(how, tmp_path)
        (tmp_path / "beside.py").write_text("SCALE = 2\n")
        assert recall(how, tmp_path) is None
    finally:
        sys.modules.pop("mine", None)
        sys.modules.pop("beside", None)


def test_a_variable_of_the_environment_is_seen(settled, encoder, weights, tmp_path, monkeypatch):
    """A loader may ask for any; what pytest and a terminal set chooses no model."""
    monkeypatch.setenv("VARIANT", "small")
    kept(weights, encoder, tmp_path)
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "another")
    monkeypatch.setenv("COLUMNS", "99")
    small = recall(loading(weights), tmp_path)
    assert small
    monkeypatch.setenv("VARIANT", "large")
    assert recall(loading(weights), tmp_path) is None
    kept(weights, encoder, tmp_path)
    assert recall(loading(weights), tmp_path).identity != small.identity


def test_a_file_that_is_read_to_load_it_is_watched(settled, weights, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("one")

    def load_it():
        assert words.read_text()
        return phantom.load(weights)

    load_or_recall(loading(weights), tmp_path, "cpu", load_it)
    assert recall(loading(weights), tmp_path)
    words.write_text("two")
    assert recall(loading(weights), tmp_path) is None


def test_a_file_more_in_the_folder_that_is_named_is_seen(settled, weights, tmp_path):
    """As a loader that takes the newest checkpoint of a folder."""
    remember(loading(weights.parent), phantom.load(weights), tmp_path, began=NEVER)
    assert recall(loading(weights.parent), tmp_path)
    (weights.parent / "newer.safetensors").write_bytes(b"")
    assert recall(loading(weights.parent), tmp_path) is None


def test_what_it_imports_later_is_watched_from_then_on(settled, weights, tmp_path, monkeypatch):
    (tmp_path / "late.py").write_text("SCALE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    how = loading(weights)
    _, identity = load_or_recall(how, tmp_path, "cpu", lambda: phantom.load(weights))
    before = identity()
    try:
        import_module("late")
        assert identity() != before
        assert identity() == recall(how, tmp_path).identity
        (tmp_path / "late.py").write_text("SCALE = 20\n")
        assert recall(how, tmp_path) is None
    finally:
        sys.modules.pop("late", None)


def test_a_model_that_is_loaded_late_is_known_by_what_it_imports(
    settled, weights, tmp_path, monkeypatch
):
    (tmp_path / "late.py").write_text("SCALE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    load_or_recall(loading(weights), tmp_path, "cpu", lambda: phantom.load(weights))
    late, identity = load_or_recall(
        loading(weights), tmp_path, "cpu", lambda: phantom.load(weights)
    )
    before = identity()
    late.encode_reports(["no effusion"])
    assert identity() == before == recall(loading(weights), tmp_path).identity
    try:
        import_module("late")
        assert identity() != before
    finally:
        sys.modules.pop("late", None)


@pytest.mark.parametrize("damage", [lambda c: b"", lambda c: c[:-9], lambda c: c.swapcase()])
def test_a_damaged_note_is_no_note(settled, encoder, weights, tmp_path, damage):
    how = kept(weights, encoder, tmp_path)
    note = how.at(tmp_path)
    note.write_bytes(damage(note.read_bytes()))
    assert recall(how, tmp_path) is None


def test_a_folder_of_too_many_files_is_not_looked_through(tmp_path, monkeypatch):
    monkeypatch.setattr("robustness.stamps.MOST_FILES", 2)
    for name in "abc":
        (tmp_path / name).write_text(name)
    assert Stamps.of([tmp_path], before=NEVER) is None
    (tmp_path / "c").unlink()
    assert Stamps.of([tmp_path], before=NEVER).hold()


def test_a_note_that_cannot_be_written_says_where(settled, encoder, weights, tmp_path):
    (tmp_path / "models").write_text("a file where a folder should be")
    with pytest.raises(StoreError, match=r"models.* cannot be written: .*--robustness-store"):
        kept(weights, encoder, tmp_path)


def test_a_second_run_loads_nothing_until_the_checkpoint_changes(settled, weights, tmp_path):
    loads = []

    def load_it():
        loads.append(weights)
        return phantom.load(weights)

    first, identity = load_or_recall(loading(weights), tmp_path, "cpu", load_it)
    again, same = load_or_recall(loading(weights), tmp_path, "cpu", load_it)
    assert len(loads) == 1
    assert identity() == same() is not None
    assert isinstance(again, RememberedEncoder)
    assert again.fingerprint == first.fingerprint
    os.utime(weights)
    _, other = load_or_recall(loading(weights), tmp_path, "cpu", load_it)
    assert len(loads) == 2
    assert other() != identity()
