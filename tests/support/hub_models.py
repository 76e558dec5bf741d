"""Tiny models in the published formats of open_clip and transformers."""

from __future__ import annotations

import json

from support import published_clip as published
from support.published_clip import SIZES, SMALL, pictures

LOADER = "robustness.models.hub:load"

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


def radiographs():
    return pictures(SIZES[:2] + SIZES[3:])


def use_cache(monkeypatch, folder):
    """Make the hub's client use this cache and no network.

    The client reads its environment once, when it is imported.
    """
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))


def put_in_cache(cache, repository, folder):
    """Copy a directory into a cache in the layout of the hub's client; return its path."""
    import shutil

    place = cache / f"models--{repository.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / ("0" * 40))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0" * 40)
    return place / "snapshots" / ("0" * 40)


def word_tokenizer(kind):
    """Create a whole-word tokenizer with the special tokens of CLIP or SigLIP."""
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
    """Save a tiny model of transformers, with its tokenizer and image processor."""
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


def save_plain(folder):
    """Save a CLIP model as a directory of open_clip, and register its architecture."""
    from safetensors.torch import save_file

    name = published.register(SMALL, folder, "small-hub")
    config = {
        "model_cfg": json.loads((folder / f"{name}.json").read_text()),
        "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(published.state(SMALL, seed=2), folder / "open_clip_model.safetensors")
    return folder


def save_biomed(folder):
    """Save a model like BiomedCLIP: a vision tower of timm, and a BERT of transformers."""
    import open_clip
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig

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


def remove(name):
    return lambda folder: (folder / name).unlink()
