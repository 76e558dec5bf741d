"""Tests of the hub loader: its options, and models of open_clip against open_clip itself."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from support import published_clip as published
from support.embeddings import TOLERANCE, check_contract, distance, embed, unit
from support.hub_models import (
    LOADER,
    TEXTS,
    put_in_cache,
    radiographs,
    remove,
    save_biomed,
    save_plain,
    use_cache,
)
from support.published_clip import SMALL

from robustness.encoder import load
from robustness.errors import UsageError, WeightsError, WeightsNotFoundError


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    use_cache(monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def images():
    return radiographs()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return save_plain(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def biomed(tmp_path_factory):
    return save_biomed(tmp_path_factory.mktemp("biomed"))


def direct_open_clip(folder, images, texts):
    """Return embeddings by open_clip's own functions, one input at a time."""
    import open_clip
    import torch
    from PIL import Image

    model, chain = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    with torch.no_grad():
        rgb = (Image.fromarray(image).convert("RGB") for image in images)
        seen = torch.cat([model.encode_image(chain(picture)[None]) for picture in rgb])
        read = torch.cat([model.encode_text(tokenizer([text])) for text in texts])
    return unit(seen), unit(read)


@pytest.mark.parametrize("form", ["plain", "biomed"])
def test_open_clip_equals_open_clip(request, images, form):
    folder = request.getfixturevalue(form)
    encoder = load(LOADER, model=f"open_clip:{folder}")
    seen, read = direct_open_clip(folder, images, TEXTS)
    assert distance(embed(encoder, images), seen) < TOLERANCE
    assert distance(encoder.encode_reports(TEXTS), read) < TOLERANCE
    check_contract(encoder, images[:3], TEXTS)


def test_local_dir_is_the_same(plain):
    one = load(LOADER, model=f"open_clip:{plain}")
    assert load(LOADER, model=f"open_clip:local-dir:{plain}").fingerprint == one.fingerprint


def test_an_architecture_with_a_checkpoint(plain, images):
    weights = plain / "open_clip_model.safetensors"
    encoder = load(LOADER, model="open_clip:small-hub", weights=weights)
    clip = load("robustness.models.clip:load", weights=weights, architecture="small-hub")
    assert distance(embed(encoder, images), embed(clip, images)) < 1e-5
    assert distance(encoder.encode_reports(TEXTS), clip.encode_reports(TEXTS)) < 1e-5
    assert encoder.details["quick_gelu"] == "true"


def test_a_training_checkpoint(plain, tmp_path):
    import torch

    state = {f"module.{key}": value for key, value in published.state(SMALL, seed=2).items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": state}, tmp_path / "epoch_3.pt")
    encoder = load(LOADER, model="open_clip:small-hub", weights=tmp_path / "epoch_3.pt")
    whole = load(LOADER, model="open_clip:small-hub", weights=plain / "open_clip_model.safetensors")
    assert encoder.fingerprint == whole.fingerprint


def test_open_clip_from_the_hubs_cache(biomed, tmp_path, images):
    put_in_cache(tmp_path, "some/bert", biomed)
    snapshot = put_in_cache(tmp_path, "some/biomed", biomed)
    config = json.loads((snapshot / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["hf_model_name"] = "some/bert"
    (snapshot / "open_clip_config.json").write_text(json.dumps(config))
    encoder = load(LOADER, model="open_clip:hf-hub:some/biomed")
    local = load(LOADER, model=f"open_clip:{biomed}")
    assert distance(embed(encoder, images), embed(local, images)) == 0
    assert distance(encoder.encode_reports(TEXTS), local.encode_reports(TEXTS)) == 0


def test_published_weights_from_the_hubs_cache(plain, tmp_path, monkeypatch):
    put_in_cache(tmp_path, "some/clip", plain)
    entries = {"good": {"hf_hub": "some/clip/", "quick_gelu": True}, "bad": {"hf_hub": "a/b/"}}
    monkeypatch.setitem(open_clip_entries(), "small-hub", entries)
    encoder = load(LOADER, model="open_clip:small-hub/good")
    assert encoder.details["source"] == "https://huggingface.co/some/clip"
    with pytest.raises(UsageError, match="another activation .* name small-hub-quickgelu/bad"):
        load(LOADER, model="open_clip:small-hub/bad")


def open_clip_entries():
    from open_clip.pretrained import _PRETRAINED

    return _PRETRAINED


def test_openai_weights_need_quickgelu():
    with pytest.raises(UsageError, match="another activation .* ViT-B-32-quickgelu/openai"):
        load(LOADER, model="open_clip:ViT-B-32/openai")


def spoil(name, text):
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (remove("open_clip_config.json"), "no open_clip_config.json"),
        (remove("open_clip_model.safetensors"), "no weights"),
        (spoil("open_clip_config.json", "[]"), "not a configuration of open_clip"),
        (spoil("open_clip_model.safetensors", "404"), "open_clip_model.safetensors.*not a"),
    ],
)
def test_bad_open_clip_directory(plain, tmp_path, change, reason):
    folder = tmp_path / "copy"
    shutil.copytree(plain, folder)
    change(folder)
    with pytest.raises(WeightsError, match=reason) as caught:
        load(LOADER, model=f"open_clip:{folder}")
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_open_clip_checkpoint_of_another_model(plain, biomed):
    other = biomed / "open_clip_model.safetensors"
    with pytest.raises(WeightsError, match=f"{other}.*another model.*missing.*unexpected"):
        load(LOADER, model="open_clip:small-hub", weights=other)


# Options


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "is not open_clip:NAME or transformers:NAME"),
        ({"model": "timm:vit"}, "'timm:vit' is not open_clip:NAME"),
        ({"model": "transformers:"}, "is not open_clip:NAME"),
        ({"model": "open_clip:ViT-Z/x"}, "neither an architecture 'ViT-Z'"),
        ({"model": "open_clip:ViT-B-16/x"}, "weights 'x' are not published.*laion2b_s34b_b88k"),
        ({"model": "open_clip:ViT-B-16"}, "weights '' are not published"),
        ({"model": "transformers:a/b", "colour": 1}, "takes no option 'colour'; it takes image_"),
        (
            {"model": "transformers:a/b", "sections": "summary"},
            "invalid sections 'summary'; allowed are",
        ),
        ({"model": "transformers:a/b", "tokenizer": "/nowhere"}, "'/nowhere' is not a directory"),
        ({"model": "transformers:a/b", "image_backend": "cv2"}, "'cv2' is not one of pil, torch"),
        ({"model": "open_clip:ViT-B-16", "image_backend": "pil"}, "not one of transformers"),
    ],
)
def test_usage(options, reason):
    with pytest.raises(UsageError, match=reason) as caught:
        load(LOADER, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "model",
    [
        "transformers:google/medsiglip-448",
        "transformers:not an id",
        "open_clip:hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        "open_clip:ViT-B-16/laion2b_s34b_b88k",
    ],
)
def test_an_unreachable_hub(model):
    with pytest.raises(WeightsNotFoundError, match="https://huggingface.co/.*licence") as caught:
        load(LOADER, model=model)
    assert str(caught.value).startswith(model)
    assert "\n" not in str(caught.value)


def test_invalid_images_are_refused(plain):
    encoder = load(LOADER, model=f"open_clip:{plain}")
    with pytest.raises(ValueError, match=r"image 0 is uint16 .* uint8 \[height, width\]"):
        encoder.preprocess([np.zeros((40, 40), dtype=np.uint16)])


@pytest.mark.parametrize("name", ["SentencePiece", "protobuf"])
def test_a_tokenizer_without_its_library_names_the_extra(monkeypatch, tmp_path, name):
    from robustness.models import _hub_shared

    monkeypatch.setattr(_hub_shared, "find_spec", lambda module: None)
    error = _hub_shared.no_tokenizer(tmp_path, ImportError(f"this tokenizer\nrequires {name}"))
    assert str(error).endswith(
        f"(this tokenizer requires {name}); it needs {name.lower()}:"
        " pip install 'robustness-gate[siglip]'"
    )


def test_a_tokenizer_with_its_library_needs_no_extra(tmp_path):
    from robustness.models import _hub_shared

    error = _hub_shared.no_tokenizer(tmp_path, ImportError("SentencePiece fails on this file"))
    assert str(error).endswith("name the directory of one as tokenizer=DIRECTORY")
