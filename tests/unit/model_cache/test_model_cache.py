"""The model cache: cached metadata, and every change that loads the model again."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from dataclasses import replace
from importlib import import_module

import pytest
import torch

from robustness.embedding import embed_images, embed_reports
from robustness.encoder import DualEncoder, load
from robustness.errors import StoreError
from robustness.evalset import load as load_evalset
from robustness.model_cache import (
    Entry,
    LazyEncoder,
    Metadata,
    ModelRequest,
    load_cached,
    unwrap,
)
from robustness.model_cache.entry import MIN_AGE_S, FileHash
from robustness.models import phantom

NEVER = 2.0**40
"""A time later than the modification time of any file."""


@pytest.fixture(scope="module")
def encoder():
    return phantom.load()


@pytest.fixture
def settled(monkeypatch):
    """Trust the timestamps of files that the test has just written."""
    monkeypatch.setattr("robustness.model_cache.entry.MIN_AGE_S", -60.0)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights" / "model.safetensors"
    path.parent.mkdir()
    path.write_bytes(phantom.WEIGHTS.read_bytes())
    return path


def phantom_request(weights=None, **options):
    return ModelRequest("robustness.models.phantom:load", weights, options)


def store_entry(request, encoder, store, *, started=NEVER):
    """Write the entry of a loaded model; returns it, or None if the model is not cacheable."""
    entry = Entry.of(request, encoder, started=started)
    if entry is not None:
        entry.write(request.entry_path(store))
    return entry


def current_entry(request, store):
    """Return the stored entry if none of its files changed."""
    entry = Entry.read(request.entry_path(store))
    return entry if entry is not None and entry.is_current() else None


def flip_last_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


# --- round trip --------------------------------------------------------------------------


def test_metadata_survives_the_round_trip(settled, encoder, tmp_path):
    request = phantom_request()
    entry = store_entry(request, encoder, tmp_path)
    assert Entry.read(request.entry_path(tmp_path)) == entry
    assert entry.metadata == Metadata.of(encoder)
    assert entry.metadata.name == "PhantomEncoder"


def test_an_entry_is_json_without_weights(settled, encoder, tmp_path):
    request = phantom_request()
    store_entry(request, encoder, tmp_path)
    content = json.loads(request.entry_path(tmp_path).read_text())["content"]
    assert set(content) == {"metadata", "files", "inputs"}
    assert content["metadata"]["fingerprint"] == encoder.fingerprint


def test_a_second_run_loads_nothing_until_the_checkpoint_changes(settled, weights, tmp_path):
    loads = []

    def load_weights():
        # The reference weights even once the file is damaged.
        loads.append(weights)
        model = phantom.load()
        model.checkpoint = weights
        return model

    def load_again():
        return load_cached(phantom_request(weights), tmp_path, "cpu", load_weights)

    first, identity = load_again()
    again, same = load_again()
    assert len(loads) == 1
    before = identity()
    assert before == same() is not None
    assert isinstance(again, LazyEncoder)
    assert again.fingerprint == first.fingerprint
    flip_last_bit(weights)
    _, other = load_again()
    assert len(loads) == 2
    assert other() not in (before, None)


# --- the request -------------------------------------------------------------------------


def test_another_option_is_another_entry(settled, encoder, weights, tmp_path):
    request = phantom_request(weights, size="small")
    store_entry(request, encoder, tmp_path)
    assert current_entry(request, tmp_path)
    assert current_entry(phantom_request(weights, size="large"), tmp_path) is None


def test_another_version_of_a_library_is_another_entry(
    settled, encoder, weights, tmp_path, monkeypatch
):
    store_entry(phantom_request(weights), encoder, tmp_path)
    assert current_entry(phantom_request(weights), tmp_path)
    monkeypatch.setattr("robustness.model_cache.entry._installed_packages", lambda: ["torch 1"])
    assert current_entry(phantom_request(weights), tmp_path) is None


def test_the_working_directory_is_part_of_the_key(settled, encoder, weights, tmp_path, monkeypatch):
    store_entry(phantom_request(weights), encoder, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert current_entry(phantom_request(weights), tmp_path) is None


def test_the_environment_is_not_part_of_the_key(settled, encoder, weights, tmp_path, monkeypatch):
    store_entry(phantom_request(weights), encoder, tmp_path)
    monkeypatch.setenv("VARIANT", "large")
    assert current_entry(phantom_request(weights), tmp_path)


# --- which models are cacheable ----------------------------------------------------------


def test_a_named_checkpoint_is_cached(settled, weights, tmp_path):
    entry = store_entry(phantom_request(weights), phantom.load(weights), tmp_path)
    assert entry.metadata.checkpoint == weights
    assert str(weights) in entry.files
    assert current_entry(phantom_request(), tmp_path) is None


def test_a_checkpoint_in_the_loaders_package_is_cached(settled, encoder, tmp_path):
    assert store_entry(phantom_request(), encoder, tmp_path)


def test_an_unnamed_checkpoint_from_elsewhere_is_not_cached(settled, weights, tmp_path):
    """For example from a hub's cache: the same request may lead to another file tomorrow."""
    assert store_entry(phantom_request(), phantom.load(weights), tmp_path) is None


def test_a_checkpoint_in_robustness_weights_is_cached(settled, weights, tmp_path, monkeypatch):
    monkeypatch.setenv("ROBUSTNESS_WEIGHTS", str(weights.parent))
    store_entry(phantom_request(), phantom.load(weights), tmp_path)
    assert current_entry(phantom_request(), tmp_path)
    monkeypatch.setenv("ROBUSTNESS_WEIGHTS", str(tmp_path))
    assert current_entry(phantom_request(), tmp_path) is None


@pytest.mark.parametrize("named", [False, True])
def test_a_model_without_a_checkpoint_is_loaded_each_time(settled, weights, tmp_path, named):
    model = phantom.load()
    model.checkpoint = None
    request = phantom_request(weights if named else None)
    assert store_entry(request, model, tmp_path) is None


# --- files -------------------------------------------------------------------------------


@pytest.mark.parametrize("same_time", [False, True])
def test_a_changed_checkpoint_is_detected(settled, weights, tmp_path, same_time):
    """Even with the same size and modification time."""
    request = phantom_request(weights)
    store_entry(request, phantom.load(weights), tmp_path)
    before = weights.stat()
    flip_last_bit(weights)
    if same_time:
        os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert current_entry(request, tmp_path) is None


def test_a_missing_checkpoint_is_detected(settled, weights, tmp_path):
    request = phantom_request(weights)
    store_entry(request, phantom.load(weights), tmp_path)
    weights.unlink()
    assert current_entry(request, tmp_path) is None


def test_a_file_is_hashed_again_only_if_its_stat_changed(settled, weights, monkeypatch):
    first = FileHash.of(str(weights))
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("hashed again"))
    assert FileHash.of(str(weights), first) is first


def test_a_touched_file_keeps_the_entry(settled, weights, tmp_path):
    request = phantom_request(weights)
    entry = store_entry(request, phantom.load(weights), tmp_path)
    os.utime(weights)
    lazy, identity = load_cached(request, tmp_path, "cpu", lambda: pytest.fail("loaded again"))
    assert isinstance(lazy, LazyEncoder)
    assert identity() == entry.identity(request)


def test_a_model_with_files_just_written_is_not_cached(weights, tmp_path):
    """A file may be written twice within one tick of the file system's clock."""
    assert MIN_AGE_S >= 2
    model = phantom.load(weights)
    assert store_entry(phantom_request(weights), model, tmp_path, started=time.time()) is None
    encoder, identity = load_cached(phantom_request(weights), tmp_path, "cpu", lambda: model)
    assert encoder is model
    assert identity() is None
    assert not phantom_request(weights).entry_path(tmp_path).exists()


def test_a_file_written_while_the_model_was_loaded_is_not_trusted(settled, weights, tmp_path):
    """The model may have read the previous content."""
    request, model = phantom_request(weights), phantom.load(weights)
    started = weights.stat().st_mtime - 61
    assert store_entry(request, model, tmp_path, started=started) is None
    assert store_entry(request, model, tmp_path)


def test_a_file_named_by_an_option_is_hashed(settled, encoder, weights, tmp_path):
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("one")
    request = phantom_request(weights, tokenizer=str(vocabulary))
    store_entry(request, encoder, tmp_path)
    assert current_entry(request, tmp_path)
    vocabulary.write_text("two")
    assert current_entry(request, tmp_path) is None


def test_a_file_added_to_a_named_folder_is_detected(settled, weights, tmp_path):
    """For loaders that take the newest checkpoint of a folder."""
    request = phantom_request(weights.parent)
    store_entry(request, phantom.load(weights), tmp_path)
    assert current_entry(request, tmp_path)
    (weights.parent / "newer.safetensors").write_bytes(b"")
    assert current_entry(request, tmp_path) is None


# --- code --------------------------------------------------------------------------------


@pytest.fixture
def source_folder(tmp_path, monkeypatch):
    """A folder on ``sys.path``; modules imported from it are forgotten after the test."""
    folder = tmp_path / "source"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(folder)):
            del sys.modules[name]


@pytest.mark.parametrize("module", ["ours", "ours.inner.net"])
def test_the_loaders_package_is_hashed(settled, weights, tmp_path, source_folder, module):
    """All of it, also from a loader in a subpackage, and files that are not code."""
    package = source_folder / "ours"
    (package / "inner").mkdir(parents=True)
    for file in ("__init__.py", "inner/__init__.py", "inner/net.py"):
        (package / file).write_text("from robustness.models.phantom import load\n")
    (package / "words.txt").write_text("one\n")
    request = ModelRequest(f"{module}:load", weights, {})
    store_entry(request, load(request.loader, weights=weights), tmp_path)
    assert current_entry(request, tmp_path)
    (package / "words.txt").write_text("two\n")
    assert current_entry(request, tmp_path) is None
    store_entry(request, load(request.loader, weights=weights), tmp_path)
    assert current_entry(request, tmp_path)
    (package / "added.py").write_text("")
    assert current_entry(request, tmp_path) is None


def test_an_imported_module_beside_the_loader_is_hashed(settled, weights, tmp_path, source_folder):
    (source_folder / "beside.py").write_text("SCALE = 1\n")
    (source_folder / "net.py").write_text(
        "import beside\nfrom robustness.models.phantom import load\n"
    )
    request = ModelRequest("net:load", weights, {})
    store_entry(request, load("net:load", weights=weights), tmp_path)
    assert current_entry(request, tmp_path)
    (source_folder / "beside.py").write_text("SCALE = 2\n")
    assert current_entry(request, tmp_path) is None


@pytest.mark.parametrize("lazy", [False, True])
def test_a_module_imported_after_loading_is_hashed(settled, weights, tmp_path, source_folder, lazy):
    (source_folder / "late.py").write_text("SCALE = 1\n")
    request = phantom_request(weights)

    def cached():
        return load_cached(request, tmp_path, "cpu", lambda: phantom.load(weights))

    encoder, identity = cached()
    if lazy:
        encoder, identity = cached()
        assert isinstance(encoder, LazyEncoder)
    before = identity()
    encoder.encode_reports(["no effusion"])
    assert identity() == before == current_entry(request, tmp_path).identity(request)
    import_module("late")
    assert identity() != before
    assert identity() == current_entry(request, tmp_path).identity(request)
    (source_folder / "late.py").write_text("SCALE = 20\n")
    assert current_entry(request, tmp_path) is None


# --- damage ------------------------------------------------------------------------------

DAMAGES = {
    "empty": lambda text: "",
    "truncated": lambda text: text[:-9],
    "other_case": str.swapcase,
    "a_list": lambda text: f"[{text}]",
    "another_fingerprint": lambda text: text.replace('"fingerprint": "', '"fingerprint": "0'),
    "not_utf8": lambda text: "\udcff",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_ignored_and_rewritten(settled, encoder, weights, tmp_path, damage):
    request = phantom_request(weights)
    entry = store_entry(request, encoder, tmp_path)
    path = request.entry_path(tmp_path)
    path.write_bytes(damage(path.read_text()).encode(errors="surrogateescape"))
    assert Entry.read(path) is None
    loaded, _ = load_cached(request, tmp_path, "cpu", lambda: encoder)
    assert loaded is encoder
    assert Entry.read(path) == entry


def test_an_entry_that_cannot_be_written_is_an_error(settled, encoder, weights, tmp_path):
    (tmp_path / "models").write_text("a file instead of a folder")
    with pytest.raises(StoreError, match=r"models.* cannot be written: .*--robustness-store"):
        store_entry(phantom_request(weights), encoder, tmp_path)


def test_an_entry_that_cannot_be_read_is_an_error(weights, tmp_path):
    phantom_request(weights).entry_path(tmp_path).mkdir(parents=True)
    with pytest.raises(StoreError, match=r"models.* cannot be read: Is a directory"):
        load_cached(phantom_request(weights), tmp_path, "cpu", phantom.load)


# --- the lazy encoder --------------------------------------------------------------------


def lazy_encoder(encoder, tmp_path, loads, **changes):
    metadata = replace(Metadata.of(encoder), **changes)
    path = tmp_path / "entry.json"
    path.write_text("{}")
    return LazyEncoder(metadata, "cpu", lambda: loads.append(1) or encoder, path)


def test_a_lazy_encoder_loads_once_and_only_to_embed(encoder, tmp_path):
    loads = []
    lazy = lazy_encoder(encoder, tmp_path, loads)
    assert isinstance(lazy, DualEncoder)
    assert lazy.fingerprint == encoder.fingerprint
    assert lazy.text_policy == encoder.text_policy
    assert lazy.embedding_dim == encoder.embedding_dim
    assert lazy.details == encoder.details
    assert lazy.checkpoint == encoder.checkpoint
    assert lazy.name == "PhantomEncoder"
    assert lazy.scores_by_cosine
    assert loads == []
    evalset = load_evalset("phantom:3")
    images = [evalset.decode(pair) for pair in evalset.pairs]
    texts = [lazy.text_policy.text(pair.report) for pair in evalset.pairs]
    assert (embed_images(lazy, images) == embed_images(encoder, images)).all()
    assert (embed_reports(lazy, texts) == embed_reports(encoder, texts)).all()
    rows = torch.eye(2)
    assert lazy.score(rows, rows).tolist() == rows.tolist()
    assert lazy.on_device == encoder.on_device
    assert unwrap(lazy) is unwrap(encoder) is encoder
    assert loads == [1]


def test_a_model_that_does_not_match_its_metadata_is_an_error(encoder, tmp_path):
    lazy = lazy_encoder(encoder, tmp_path, [], fingerprint="of yesterday")
    with pytest.raises(StoreError, match="does not match its cached metadata") as failure:
        lazy.encode_reports(["no effusion"])
    assert failure.value.code == "store_stale"
    assert not (tmp_path / "entry.json").exists()


def test_an_attribute_error_of_the_loader_is_raised_as_it_is(encoder, tmp_path):
    def broken():
        raise AttributeError("bug in the loader")

    lazy = LazyEncoder(Metadata.of(encoder), "cpu", broken, tmp_path / "entry.json")
    with pytest.raises(AttributeError, match="bug in the loader"):
        lazy.encode_reports(["no effusion"])


def test_a_moved_checkpoint_is_another_request(settled, weights, tmp_path):
    moved = tmp_path / "moved.safetensors"
    store_entry(phantom_request(weights), phantom.load(weights), tmp_path)
    shutil.move(weights, moved)
    assert current_entry(phantom_request(weights), tmp_path) is None
    assert current_entry(phantom_request(moved), tmp_path) is None
