"""Tests of CLIP, SigLIP and vision-text dual encoders against transformers' auto classes."""

from __future__ import annotations

import json
import os
import pickle
import shutil

import numpy as np
import pytest
from support.embeddings import SHOWS, TOLERANCE, check_contract, distance, embed, unit
from support.hub_models import (
    KINDS,
    LIMIT,
    LOADER,
    TEXTS,
    put_in_cache,
    radiographs,
    remove,
    save_transformers,
    use_cache,
    word_tokenizer,
)

from robustness.encoder import load
from robustness.errors import UsageError, WeightsError, WeightsNotFoundError


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    use_cache(monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def images():
    return radiographs()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("transformers")
    return {kind: save_transformers(kind, parent / kind) for kind in KINDS}


@pytest.fixture(scope="module")
def encoders(folders):
    return {kind: load(LOADER, model=f"transformers:{folders[kind]}") for kind in KINDS}


def direct(folder, images, texts, padding="max_length"):
    """Return embeddings by transformers' auto classes, one input at a time."""
    import torch
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    processor, tokenizer = (
        each.from_pretrained(folder) for each in (AutoImageProcessor, AutoTokenizer)
    )
    limits = {"padding": padding, "truncation": True, "max_length": LIMIT}
    seen, read = [], []
    with torch.no_grad():
        for image in images:
            rgb = np.repeat(image[..., None], 3, axis=2)
            pixels = processor(images=[rgb], return_tensors="pt")
            seen.append(model.get_image_features(**pixels).pooler_output)
        for text in texts:
            ids = tokenizer([text], return_tensors="pt", **limits)
            read.append(model.get_text_features(**ids).pooler_output)
    return unit(torch.cat(seen)), unit(torch.cat(read))


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_equals_transformers(encoders, folders, images, kind):
    seen, read = direct(folders[kind], images, TEXTS)
    assert distance(embed(encoders[kind], images), seen) < TOLERANCE
    assert distance(encoders[kind].encode_reports(TEXTS), read) < TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_contract(encoders, images, kind):
    check_contract(encoders[kind], images[:3], TEXTS)
    assert encoders[kind].text_policy.max_tokens == LIMIT
    assert encoders[kind].text_policy.sections == ("findings", "impression")


def test_siglip_without_full_padding_would_show(encoders, folders, images):
    _, wrong = direct(folders["siglip"], images[:1], TEXTS, padding="longest")
    assert distance(encoders["siglip"].encode_reports(TEXTS), wrong) > SHOWS
    assert encoders["siglip"].details["text_padding"] == "max_length"
    assert encoders["siglip"].details["text_inputs"] == "input_ids"


@pytest.mark.parametrize("kind", KINDS)
def test_long_text_keeps_the_end_token(encoders, kind):
    one, same = encoders[kind].encode_reports(["normal " * 30, "normal " * 40 + "disease"])
    assert distance(one, same) == 0
    assert distance(encoders[kind].encode_reports(["normal " * 3])[0], one) > SHOWS


def test_half_precision_is_computed_in_single(folders, tmp_path, images):
    import torch
    from transformers import CLIPModel

    folder = tmp_path / "half"
    shutil.copytree(folders["clip"], folder)
    CLIPModel.from_pretrained(folder).half().save_pretrained(folder)
    encoder = load(LOADER, model=f"transformers:{folder}")
    seen, read = direct(folder, images, TEXTS)
    assert embed(encoder, images).dtype == torch.float32
    assert distance(embed(encoder, images), seen) < TOLERANCE
    assert distance(encoder.encode_reports(TEXTS), read) < TOLERANCE


def test_a_pickled_checkpoint_and_a_copy_embed_alike(folders, encoders, tmp_path, images):
    import torch
    from safetensors.torch import load_file

    copy = tmp_path / "copy"
    shutil.copytree(folders["dual"], copy)
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    encoder = load(LOADER, model="transformers:some/name", weights=copy)
    assert distance(embed(encoder, images), embed(encoders["dual"], images)) == 0
    assert encoder.fingerprint == encoders["dual"].fingerprint
    assert encoder.details["weights_sha256"] != encoders["dual"].details["weights_sha256"]


def test_the_hubs_cache(folders, tmp_path, encoders):
    put_in_cache(tmp_path, "some/siglip", folders["siglip"])
    encoder = load(LOADER, model="transformers:some/siglip")
    assert encoder.fingerprint == encoders["siglip"].fingerprint
    assert encoder.details["source"] == "https://huggingface.co/some/siglip"


def test_another_tokenizer(folders, tmp_path, encoders):
    tokenizer = word_tokenizer("clip")
    tokenizer.backend_tokenizer.normalizer = None
    tokenizer.save_pretrained(tmp_path)
    spec = f"transformers:{folders['clip']}"
    encoder = load(LOADER, model=spec, tokenizer=tmp_path)
    upper = [text.upper() for text in TEXTS[:1]]
    assert distance(encoder.encode_reports(upper), encoders["clip"].encode_reports(upper)) > SHOWS
    assert encoder.fingerprint != encoders["clip"].fingerprint


def test_sections(folders):
    spec = f"transformers:{folders['clip']}"
    assert load(LOADER, model=spec, sections="impression").text_policy.sections == ("impression",)


def altered(tmp_path, folders, kind, change):
    """Return a damaged copy of a model's directory."""
    folder = tmp_path / "altered"
    shutil.copytree(folders[kind], folder)
    change(folder)
    return folder


def change_config(**values):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def change_weights(edit):
    def change(folder):
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        edit(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


class Hostile:
    def __reduce__(self):
        return (os.system, ("touch executed",))


def make_hostile(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Hostile()}, protocol=2))


def shorten_vocabulary(tensors):
    name = "text_model.embeddings.token_embedding.weight"
    tensors[name] = tensors[name][:20].clone()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (truncate, "model.safetensors.*not a complete"),
        (make_hostile, "pytorch_model.bin.*system"),
        (change_weights(lambda t: t.pop("visual_projection.weight")), "missing.*visual_proj"),
        (change_weights(lambda t: t.update(extra=t["logit_scale"].clone())), "unexpected.*extra"),
        (change_weights(shorten_vocabulary), r"wrong shapes: .*token_embedding.weight \[20, 32\]"),
        (change_weights(lambda t: t["logit_scale"].fill_(float("nan"))), "logit_scale.*finite"),
        (remove("config.json"), "no config.json"),
        (remove("model.safetensors"), "no weights"),
        (remove("preprocessor_config.json"), "cannot create an image processor"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json.*not a JSON"),
    ],
)
def test_bad_directory(tmp_path, folders, monkeypatch, change, reason):
    monkeypatch.chdir(tmp_path)
    folder = altered(tmp_path, folders, "clip", change)
    with pytest.raises(WeightsError, match=reason) as caught:
        load(LOADER, model=f"transformers:{folder}")
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


def test_a_vocabulary_of_the_wrong_size(folders, tmp_path):
    tokenizer = word_tokenizer("clip")
    tokenizer.add_tokens([f"word{n}" for n in range(20)])
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=f"{tmp_path}.* vocabulary of .* words, the model"):
        load(LOADER, model=f"transformers:{folders['clip']}", tokenizer=tmp_path)


def test_no_code_of_a_repository_is_run(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "import pathlib\npathlib.Path('executed').touch()\nclass Model: pass\n"

    def change(folder):
        (folder / "modeling.py").write_text(code)
        change_config(auto_map={"AutoModel": "modeling.Model"}, model_type="foreign")(folder)

    folder = altered(tmp_path, folders, "clip", change)
    with pytest.raises(UsageError, match="'foreign'; supported are clip, siglip, vision-text"):
        load(LOADER, model=f"transformers:{folder}")
    change_config(model_type="clip")(folder)
    load(LOADER, model=f"transformers:{folder}")
    assert not (tmp_path / "executed").exists()


def test_a_file_instead_of_a_directory(folders):
    weights = folders["clip"] / "model.safetensors"
    with pytest.raises(WeightsError, match=f"{weights}.*takes the directory"):
        load(LOADER, model="transformers:a/b", weights=weights)
    with pytest.raises(WeightsNotFoundError, match="directory '/nowhere' not found"):
        load(LOADER, model="transformers:a/b", weights="/nowhere")


def test_one_changed_weight_changes_the_fingerprint(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "clip"
    save_transformers("clip", folder)
    name = f"transformers:{folder}"
    before = load(LOADER, model=name).fingerprint
    assert load(LOADER, model=name).fingerprint == before
    state = load_file(folder / "model.safetensors")
    state["visual_projection.weight"][0, 0] += 1e-3
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    assert load(LOADER, model=name).fingerprint != before
