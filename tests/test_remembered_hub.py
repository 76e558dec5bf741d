"""Models of open_clip and transformers that lie in a folder: remembered until a file of it changes.

What comes from the hub, whole or in part, is loaded each time.
"""

from __future__ import annotations

import shutil
import time

import pytest
from hub_models import (
    LOADER,
    bert_tokenizer,
    put_in_cache,
    save_biomed,
    save_plain,
    save_transformers,
    use_cache,
)

from robustness.encoder import load
from robustness.loading import Loading
from robustness.remembered import RememberedEncoder, load_or_recall, recall, remember

FORMS = ("open_clip:plain", "open_clip:biomed", "transformers:clip")


@pytest.fixture(autouse=True)
def _settled(monkeypatch, tmp_path):
    """Without a network, and every file counts as left alone: a test cannot wait for that."""
    use_cache(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr("robustness.stamps.SETTLED", -60.0)


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
    """A copy of each, in the current folder."""
    shutil.copytree(saved, tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")
    return tmp_path / "own"


def kept(store, weights=None, **options):
    """Loads and remembers, as the gate does; returns how it was loaded, and what it is."""
    how = Loading(LOADER, weights, options)
    began = time.time()
    encoder = load(LOADER, weights=weights, **options)
    remember(how, encoder, store, began=began)
    return how, encoder


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("absolute", [False, True])
def test_a_second_run_loads_nothing(own, tmp_path, form, absolute):
    library, _, name = form.partition(":")
    how = Loading(LOADER, None, {"model": f"{library}:{own / name if absolute else name}"})
    loads = []

    def load_it():
        loads.append(form)
        return load(LOADER, **how.options)

    first, identity = load_or_recall(how, tmp_path, "cpu", load_it)
    again, same = load_or_recall(how, tmp_path, "cpu", load_it)
    assert loads == [form]
    assert isinstance(again, RememberedEncoder)
    assert identity() == same() is not None
    assert again.fingerprint == first.fingerprint
    assert again.checkpoint == first.checkpoint
    assert again.loaded.fingerprint == first.fingerprint


def files_of(form):
    """Files of each form that shape an embedding, weights, words and pixels among them."""
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
def test_any_file_of_the_folder_that_changes_is_seen(own, tmp_path, form, file):
    how, _ = kept(tmp_path, model=form)
    assert recall(how, tmp_path)
    path = own / form.partition(":")[2] / file
    path.write_bytes(path.read_bytes())
    assert recall(how, tmp_path) is None


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_added_or_gone_is_seen(own, tmp_path, form):
    how, _ = kept(tmp_path, model=form)
    added = own / form.partition(":")[2] / "added_tokens.json"
    added.write_text("{}")
    assert recall(how, tmp_path) is None
    how, _ = kept(tmp_path, model=form)
    assert recall(how, tmp_path)
    added.unlink()
    assert recall(how, tmp_path) is None


@pytest.mark.parametrize(
    ("model", "weights"),
    [("transformers:some/model", "clip"), ("open_clip:hf-hub:some/model", "plain")],
)
def test_a_folder_in_place_of_the_hub_is_remembered(own, tmp_path, model, weights):
    how, _ = kept(tmp_path, own / weights, model=model)
    assert recall(how, tmp_path)
    path = next((own / weights).glob("*config.json"))
    path.write_bytes(path.read_bytes())
    assert recall(how, tmp_path) is None


def test_the_folder_of_the_configuration_is_watched_beside_a_named_checkpoint(own, tmp_path):
    weights = tmp_path / "elsewhere.safetensors"
    shutil.copy(own / "plain" / "open_clip_model.safetensors", weights)
    how, _ = kept(tmp_path, weights, model="open_clip:local-dir:plain")
    for path in (weights, own / "plain" / "open_clip_config.json"):
        remember(how, load(LOADER, weights=weights, **how.options), tmp_path, began=time.time())
        assert recall(how, tmp_path)
        path.write_bytes(path.read_bytes())
        assert recall(how, tmp_path) is None


def test_a_tokenizer_from_elsewhere_is_watched(own, tmp_path):
    words = own / "words"
    words.mkdir()
    bert_tokenizer(words).save_pretrained(words)
    how, _ = kept(tmp_path, model="open_clip:biomed", tokenizer=str(words))
    assert recall(how, tmp_path)
    (words / "tokenizer.json").touch()
    assert recall(how, tmp_path) is None


# --- what a hub may change ---------------------------------------------------------------


def test_a_folder_whose_words_come_from_the_hub_is_not_remembered(own, tmp_path):
    (own / "words").mkdir()
    bert_tokenizer(own / "words").save_pretrained(own / "words")
    put_in_cache(tmp_path / "cache", "some/bert", own / "words")
    (own / "biomed" / "tokenizer_config.json").unlink()
    how, _ = kept(tmp_path, model="open_clip:biomed")
    assert recall(how, tmp_path) is None


@pytest.mark.parametrize("model", ["transformers:some/model", "open_clip:hf-hub:some/model"])
def test_what_lies_in_the_hub_s_cache_is_not_remembered(own, tmp_path, model):
    folder = own / ("clip" if model.startswith("transformers") else "plain")
    put_in_cache(tmp_path / "cache", "some/model", folder)
    how, _ = kept(tmp_path, model=model)
    assert recall(how, tmp_path) is None


def test_a_tower_that_timm_takes_from_the_hub_is_none_of_the_folder_s(own):
    from models._hub_open_clip_source import find

    source = find(str(own / "biomed"), None)
    for tower, folder in ((None, source.folder), ("hf-hub:some/tower", None)):
        source.config["vision_cfg"]["timm_model_name"] = tower
        assert source.whole(None) == folder
