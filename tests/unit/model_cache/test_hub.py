"""The model cache with open_clip and transformers: folders are cached, hub models are not."""

from __future__ import annotations

import shutil
import time

import pytest
from support.hub_models import (
    LOADER,
    bert_tokenizer,
    put_in_cache,
    save_biomed,
    save_plain,
    save_transformers,
    use_cache,
)

from robustness.encoder import load
from robustness.model_cache import Entry, LazyEncoder, ModelRequest, load_cached, unwrap

FORMS = ("open_clip:plain", "open_clip:biomed", "transformers:clip")


@pytest.fixture(autouse=True)
def _settled(monkeypatch, tmp_path):
    """No network; trust the timestamps of files that the test has just written."""
    use_cache(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr("robustness.model_cache.entry.MIN_AGE_S", -60.0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    parent = tmp_path_factory.mktemp("saved")
    for name, save in (("plain", save_plain), ("biomed", save_biomed)):
        (parent / name).mkdir()
        save(parent / name)
    save_transformers("clip", parent / "clip")
    return parent


@pytest.fixture
def own(saved, tmp_path, monkeypatch):
    """A copy of each, in the working directory."""
    shutil.copytree(saved, tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")
    return tmp_path / "own"


def store_entry(store, weights=None, **options):
    """Load a model and write its entry, as the gate does; returns the request."""
    request = ModelRequest(LOADER, weights, options)
    started = time.time()
    entry = Entry.of(request, load(LOADER, weights=weights, **options), started=started)
    if entry is not None:
        entry.write(request.entry_path(store))
    return request


def current_entry(request, store):
    """Return the stored entry if none of its files changed."""
    entry = Entry.read(request.entry_path(store))
    return entry if entry is not None and entry.is_current() else None


def change(path):
    """Change a file's content; it stays loadable."""
    content = bytearray(path.read_bytes())
    if path.suffix == ".safetensors":
        content[-1] ^= 1
    else:
        content += b"\n"
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("absolute", [False, True])
def test_a_second_run_loads_nothing(own, tmp_path, form, absolute):
    library, _, name = form.partition(":")
    request = ModelRequest(LOADER, None, {"model": f"{library}:{own / name if absolute else name}"})
    loads = []

    def load_it():
        loads.append(form)
        return load(LOADER, **request.options)

    first, identity = load_cached(request, tmp_path, "cpu", load_it)
    again, same = load_cached(request, tmp_path, "cpu", load_it)
    assert loads == [form]
    assert isinstance(again, LazyEncoder)
    assert identity() == same() is not None
    assert again.fingerprint == first.fingerprint
    assert again.checkpoint == first.checkpoint
    assert unwrap(again).fingerprint == first.fingerprint


def files_of(form):
    """Return files of a form that affect an embedding."""
    return {
        "open_clip:plain": ["open_clip_config.json", "open_clip_model.safetensors"],
        "open_clip:biomed": ["config.json", "tokenizer.json", "open_clip_config.json"],
        "transformers:clip": [
            "config.json",
            "model.safetensors",
            "preprocessor_config.json",
            "tokenizer.json",
        ],
    }[form]


@pytest.mark.parametrize(("form", "file"), [(form, f) for form in FORMS for f in files_of(form)])
def test_a_changed_file_of_the_folder_is_detected(own, tmp_path, form, file):
    request = store_entry(tmp_path, model=form)
    assert current_entry(request, tmp_path)
    path = own / form.partition(":")[2] / file
    change(path)
    assert current_entry(request, tmp_path) is None


@pytest.mark.parametrize("form", FORMS)
def test_an_added_or_removed_file_is_detected(own, tmp_path, form):
    request = store_entry(tmp_path, model=form)
    added = own / form.partition(":")[2] / "added_tokens.json"
    added.write_text("{}")
    assert current_entry(request, tmp_path) is None
    request = store_entry(tmp_path, model=form)
    assert current_entry(request, tmp_path)
    added.unlink()
    assert current_entry(request, tmp_path) is None


@pytest.mark.parametrize(
    ("model", "weights"),
    [("transformers:some/model", "clip"), ("open_clip:hf-hub:some/model", "plain")],
)
def test_a_folder_instead_of_the_hub_is_cached(own, tmp_path, model, weights):
    request = store_entry(tmp_path, own / weights, model=model)
    assert current_entry(request, tmp_path)
    path = next((own / weights).glob("*config.json"))
    change(path)
    assert current_entry(request, tmp_path) is None


def test_the_configuration_folder_is_hashed_besides_a_named_checkpoint(own, tmp_path):
    weights = tmp_path / "elsewhere.safetensors"
    shutil.copy(own / "plain" / "open_clip_model.safetensors", weights)
    request = store_entry(tmp_path, weights, model="open_clip:local-dir:plain")
    for path in (weights, own / "plain" / "open_clip_config.json"):
        store_entry(tmp_path, weights, **request.options)
        assert current_entry(request, tmp_path)
        change(path)
        assert current_entry(request, tmp_path) is None


def test_a_tokenizer_from_another_folder_is_hashed(own, tmp_path):
    words = own / "words"
    words.mkdir()
    bert_tokenizer(words).save_pretrained(words)
    request = store_entry(tmp_path, model="open_clip:biomed", tokenizer=str(words))
    assert current_entry(request, tmp_path)
    change(words / "tokenizer.json")
    assert current_entry(request, tmp_path) is None


# --- hub models ------------------------------------------------------------------------


def test_a_folder_with_a_tokenizer_from_the_hub_is_not_cached(own, tmp_path):
    (own / "words").mkdir()
    bert_tokenizer(own / "words").save_pretrained(own / "words")
    put_in_cache(tmp_path / "cache", "some/bert", own / "words")
    (own / "biomed" / "tokenizer_config.json").unlink()
    request = store_entry(tmp_path, model="open_clip:biomed")
    assert current_entry(request, tmp_path) is None


@pytest.mark.parametrize("model", ["transformers:some/model", "open_clip:hf-hub:some/model"])
def test_a_model_in_the_hubs_cache_is_not_cached(own, tmp_path, model):
    folder = own / ("clip" if model.startswith("transformers") else "plain")
    put_in_cache(tmp_path / "cache", "some/model", folder)
    request = store_entry(tmp_path, model=model)
    assert current_entry(request, tmp_path) is None


def test_a_folder_with_a_timm_tower_from_the_hub_is_not_whole(own):
    from robustness.models._hub_open_clip import find

    source = find(str(own / "biomed"), None)
    for tower, folder in ((None, source.folder), ("hf-hub:some/tower", None)):
        source.config["vision_cfg"]["timm_model_name"] = tower
        assert source.whole(None) == folder
