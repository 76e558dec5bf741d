"""Models by name: equal to open_clip and transformers used directly, from directory and cache."""

from __future__ import annotations

import json
import os
import pickle
import shutil

import numpy as np
import published_clip as published
import pytest
from published_clip import SIZES, SMALL, picture

from robustness.encoder import load
from robustness.errors import UsageError, WeightsError, WeightsNotFoundError

LOADER = "models.hub:load"
TOLERANCE = 5e-5
SHOWS = 1e-3
"""A mistake moves some component of an embedding by more than this."""

TEXTS = [
    "No acute disease.",
    "Épanchement pleural à gauche, œdème.",
    "",
    "There is a large right pneumothorax with mediastinal shift. " * 12,
    "normal",
]
WORDS = sorted({word for text in TEXTS for word in text.lower().replace(".", " . ").split()})
LIMIT = 24
KINDS = ("clip", "siglip", "dual")


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    # The hub's client reads its environment once, when it is imported.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def images():
    return [picture(*size) for size in SIZES[:2] + SIZES[3:]]


def word_tokenizer(kind):
    """A tokenizer of whole words with the special tokens of CLIP or of SigLIP."""
    from tokenizers import Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import WordLevel
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<unk>", "<s>", *WORDS, "</s>"])}
    tokenizer = Tokenizer(WordLevel(vocabulary, "<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    start = "<s> " if kind == "clip" else ""
    tokenizer.post_processor = TemplateProcessing(
        single=f"{start}$A </s>",
        special_tokens=[(token, vocabulary[token]) for token in ("<s>", "</s>")],
    )
    names = ["input_ids"] if kind == "siglip" else ["input_ids", "attention_mask"]
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
    return PreTrainedTokenizerFast(
        **special,
        tokenizer_object=tokenizer,
        model_max_length=LIMIT,
        model_input_names=names,
    )


def bert_tokenizer(folder):
    from transformers import BertTokenizerFast

    vocabulary = folder / "words.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *WORDS]))
    return BertTokenizerFast(vocab=str(vocabulary), model_max_length=LIMIT)


def save_transformers(kind, folder):
    """A tiny model as transformers saves one, with its tokenizer and image processor."""
    import torch
    import transformers as t

    folder.mkdir()
    sizes = {"hidden_size": 32, "intermediate_size": 64}
    sizes |= {"num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**sizes, "image_size": 32, "patch_size": 8}
    text = {**sizes, "max_position_embeddings": LIMIT, "vocab_size": len(WORDS) + 6}
    ids = {"bos_token_id": 1, "eos_token_id": len(WORDS) + 2, "pad_token_id": len(WORDS) + 2}
    torch.manual_seed(3)
    tokenizer = bert_tokenizer(folder) if kind == "dual" else word_tokenizer(kind)
    if kind == "clip":
        config = t.CLIPConfig(text_config=text | ids, vision_config=vision, projection_dim=16)
        model = t.CLIPModel(config)
        processor = t.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    elif kind == "siglip":
        model = t.SiglipModel(t.SiglipConfig(text_config=text | ids, vision_config=vision))
        processor = t.SiglipImageProcessor(size={"height": 32, "width": 32})
    else:
        config = t.VisionTextDualEncoderConfig.from_vision_text_configs(
            t.ViTConfig(**vision), t.BertConfig(**text), projection_dim=16
        )
        model = t.VisionTextDualEncoderModel(config)
        processor = t.ViTImageProcessor(size={"height": 32, "width": 32})
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 or "bias" in name:
                parameter.normal_(0, 0.2)
    for part in (model, tokenizer, processor):
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("transformers")
    return {kind: save_transformers(kind, parent / kind) for kind in KINDS}


@pytest.fixture(scope="module")
def encoders(folders):
    return {kind: load(LOADER, model=f"transformers:{folders[kind]}") for kind in KINDS}


def direct(folder, images, texts, padding="max_length"):
    """Embeddings by transformers' own automatic classes, one input at a time."""
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


def unit(rows):
    return rows / rows.norm(dim=1, keepdim=True)


def distance(ours, theirs):
    return (ours - theirs).abs().max().item()


def embed(encoder, images):
    return encoder.encode_images(encoder.preprocess(images))


def check_contract(encoder, images):
    """What every encoder promises: shapes, norms, nothing of the batch in an embedding."""
    import torch

    for embed_all, inputs in (
        (lambda some: embed(encoder, some), images),
        (encoder.encode_reports, TEXTS),
    ):
        rows = embed_all(inputs)
        assert rows.shape == (len(inputs), encoder.embedding_dim)
        assert rows.dtype == torch.float32
        assert rows.isfinite().all()
        assert distance(rows.norm(dim=1), torch.ones(len(rows))) < 1e-5
        assert distance(torch.cat([embed_all([one]) for one in inputs]), rows) < 1e-5
        assert distance(embed_all(inputs[::-1]).flip(0), rows) < 1e-5
        assert embed_all([]).shape == (0, encoder.embedding_dim)
    assert len(encoder.details["weights_sha256"]) == 64


# transformers


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_equals_transformers(encoders, folders, images, kind):
    seen, read = direct(folders[kind], images, TEXTS)
    assert distance(embed(encoders[kind], images), seen) < TOLERANCE
    assert distance(encoders[kind].encode_reports(TEXTS), read) < TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_contract(encoders, images, kind):
    check_contract(encoders[kind], images[:3])
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


def test_clip_pixels_are_within_a_grey_level_of_pillow(folders, encoders, images):
    import torch
    from PIL import Image

    rows = []
    for image in images:
        height, width = image.shape
        size = [int(32 * side / min(height, width)) for side in (width, height)]
        resized = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        # transformers rounds the crop's place down, where torchvision rounds it to even.
        top, left = ((side - 32) // 2 for side in resized.shape)
        rows.append(torch.tensor(resized[top : top + 32, left : left + 32] / 255))
    expected = ((torch.stack(rows) - 0.48145466) / 0.26862954).float()
    level = 1.01 / 255 / 0.26862954
    assert distance(encoders["clip"].preprocess(images)[:, 0], expected) < level
    spec = f"transformers:{folders['clip']}"
    pillow = load(LOADER, model=spec, image_backend="pil")
    assert distance(pillow.preprocess(images)[:, 0], expected) < 1e-5
    assert pillow.details["image_processor"] != encoders["clip"].details["image_processor"]
    assert pillow.fingerprint != encoders["clip"].fingerprint


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


def test_the_hubs_cache(folders, tmp_path, monkeypatch, encoders):
    snapshot = tmp_path / "models--some--siglip" / "snapshots" / ("0" * 40)
    shutil.copytree(folders["siglip"], snapshot)
    (tmp_path / "models--some--siglip" / "refs").mkdir()
    (tmp_path / "models--some--siglip" / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
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


def test_what_is_no_radiograph_is_refused(encoders, plain):
    for encoder in (encoders["clip"], load(LOADER, model=f"open_clip:{plain}")):
        with pytest.raises(ValueError, match=r"image 0 is uint16 .* uint8 \[height, width\]"):
            encoder.preprocess([np.zeros((40, 40), dtype=np.uint16)])


def test_sections(folders):
    spec = f"transformers:{folders['clip']}"
    assert load(LOADER, model=spec, sections="impression").text_policy.sections == ("impression",)


def altered(tmp_path, folders, kind, change):
    """A copy of a model's directory with something wrong in it."""
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


def remove(name):
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (truncate, "model.safetensors.*not a whole"),
        (make_hostile, "pytorch_model.bin.*system"),
        (change_weights(lambda t: t.pop("visual_projection.weight")), "missing.*visual_proj"),
        (change_weights(lambda t: t.update(extra=t["logit_scale"].clone())), "unexpected.*extra"),
        (change_weights(shorten_vocabulary), r"wrong shapes: .*token_embedding.weight \[20, 32\]"),
        (change_weights(lambda t: t["logit_scale"].fill_(float("nan"))), "logit_scale.*finite"),
        (remove("config.json"), "no config.json"),
        (remove("model.safetensors"), "no weights"),
        (remove("preprocessor_config.json"), "no image processor"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json.*no JSON"),
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


# open_clip


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A CLIP model as a directory of open_clip's form, and as an architecture with a file."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("open_clip")
    name = published.register(SMALL, folder, "small-hub")
    config = {
        "model_cfg": json.loads((folder / f"{name}.json").read_text()),
        "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(published.state(SMALL, seed=2), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def biomed(tmp_path_factory):
    """BiomedCLIP's form: a timm vision tower, a BERT of transformers as text tower."""
    import open_clip
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig

    folder = tmp_path_factory.mktemp("biomed")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertConfig(
        **sizes, intermediate_size=64, vocab_size=len(WORDS) + 6, max_position_embeddings=64
    ).save_pretrained(folder)
    bert_tokenizer(folder).save_pretrained(folder)
    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "timm_model_name": "test_vit",
            "timm_model_pretrained": True,
            "timm_pool": "",
            "timm_proj": "linear",
            "image_size": 160,
        },
        "text_cfg": {
            "hf_model_name": str(folder),
            "hf_tokenizer_name": "some/bert",
            "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler",
            "context_length": LIMIT,
        },
    }
    parts = json.loads(json.dumps(config))
    parts["vision_cfg"]["timm_model_pretrained"] = False
    torch.manual_seed(7)
    model = open_clip.CustomTextCLIP(
        **parts | {"text_cfg": {**parts["text_cfg"], "hf_model_pretrained": False}}
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.2)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    whole = {"model_cfg": config, "preprocess_cfg": {"interpolation": "bilinear"}}
    (folder / "open_clip_config.json").write_text(json.dumps(whole))
    return folder


def direct_open_clip(folder, images, texts):
    """Embeddings by open_clip's own functions, one input at a time."""
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
    check_contract(encoder, images[:3])


def test_local_dir_is_the_same(plain):
    one = load(LOADER, model=f"open_clip:{plain}")
    assert load(LOADER, model=f"open_clip:local-dir:{plain}").fingerprint == one.fingerprint


def test_an_architecture_with_a_checkpoint(plain, images):
    weights = plain / "open_clip_model.safetensors"
    encoder = load(LOADER, model="open_clip:small-hub", weights=weights)
    clip = load("models.clip:load", weights=weights, architecture="small-hub")
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


def test_open_clip_from_the_hubs_cache(biomed, tmp_path, monkeypatch, images):
    for repository in ("some--biomed", "some--bert"):
        snapshot = tmp_path / f"models--{repository}" / "snapshots" / ("0" * 40)
        shutil.copytree(biomed, snapshot)
        (tmp_path / f"models--{repository}" / "refs").mkdir()
        (tmp_path / f"models--{repository}" / "refs" / "main").write_text("0" * 40)
    snapshot = tmp_path / "models--some--biomed" / "snapshots" / ("0" * 40)
    config = json.loads((snapshot / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["hf_model_name"] = "some/bert"
    (snapshot / "open_clip_config.json").write_text(json.dumps(config))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    encoder = load(LOADER, model="open_clip:hf-hub:some/biomed")
    local = load(LOADER, model=f"open_clip:{biomed}")
    assert distance(embed(encoder, images), embed(local, images)) == 0
    assert distance(encoder.encode_reports(TEXTS), local.encode_reports(TEXTS)) == 0


def test_published_weights_from_the_hubs_cache(plain, tmp_path, monkeypatch):
    snapshot = tmp_path / "models--some--clip" / "snapshots" / ("0" * 40)
    shutil.copytree(plain, snapshot)
    (tmp_path / "models--some--clip" / "refs").mkdir()
    (tmp_path / "models--some--clip" / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
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
        (spoil("open_clip_config.json", "[]"), "no configuration of open_clip"),
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


def test_open_clip_checkpoint_of_another_model(plain, folders):
    other = folders["clip"] / "model.safetensors"
    with pytest.raises(WeightsError, match=f"{other}.*another model.*missing.*unexpected"):
        load(LOADER, model="open_clip:small-hub", weights=other)


# How it is asked for


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "is not open_clip:NAME or transformers:NAME"),
        ({"model": "timm:vit"}, "'timm:vit' is not open_clip:NAME"),
        ({"model": "transformers:"}, "is not open_clip:NAME"),
        ({"model": "open_clip:ViT-Z/x"}, "neither an architecture 'ViT-Z'"),
        ({"model": "open_clip:ViT-B-16/x"}, "no weights 'x'.*laion2b_s34b_b88k"),
        ({"model": "open_clip:ViT-B-16"}, "no weights ''"),
        ({"model": "transformers:a/b", "colour": 1}, "takes no option 'colour'; it takes image_"),
        ({"model": "transformers:a/b", "sections": "summary"}, "sections 'summary' are not"),
        ({"model": "transformers:a/b", "tokenizer": "/nowhere"}, "'/nowhere' is no directory"),
        ({"model": "transformers:a/b", "image_backend": "cv2"}, "'cv2' is none of pil, torch"),
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
def test_a_hub_out_of_reach(model, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsNotFoundError, match="https://huggingface.co/.*licence") as caught:
        load(LOADER, model=model)
    assert str(caught.value).startswith(model)
    assert "\n" not in str(caught.value)


def test_a_file_where_a_directory_is_needed(folders):
    weights = folders["clip"] / "model.safetensors"
    with pytest.raises(WeightsError, match=f"{weights}.*takes the directory"):
        load(LOADER, model="transformers:a/b", weights=weights)
    with pytest.raises(WeightsNotFoundError, match="there is no directory '/nowhere'"):
        load(LOADER, model="transformers:a/b", weights="/nowhere")
