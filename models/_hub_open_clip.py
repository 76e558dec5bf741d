"""Loading of open_clip models: published, on the hub, or in a directory like the hub's."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustness.errors import UsageError, WeightsError
from robustness.models import _checkpoint, _hub_shared
from robustness.models._encoder import OneByOne, TwoTowers
from robustness.models._hub_open_clip_source import Source, find
from robustness.models._preprocessing import like_open_clip

_SCHEMA = "open-clip-1"


def load(
    name: str,
    weights: Path | None,
    *,
    sections: tuple[str, ...],
    tokenizer: Path | None,
    device: str,
) -> TwoTowers:
    """Load a model of open_clip; see :func:`robustness.models.hub.load`.

    Args:
        name: The part after ``open_clip:``.
        weights: A checkpoint, or a directory in place of the hub.
        sections: The report sections that the model reads.
        tokenizer: A directory of a tokenizer in place of the model's own.
        device: A torch device.
    """
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

    source = find(name, weights)
    model = _build(source, name)
    checkpoint = _checkpoint.read(source.checkpoint)
    state = _convert_keys(checkpoint.state, model, source.checkpoint)
    _checkpoint.load_strictly(model, state, path=source.checkpoint)
    side = {"size": model.visual.image_size}
    pixels = merge_preprocess_dict(asdict(PreprocessCfg()), {**source.preprocessing, **side})
    tokenize = _tokenizer(source, name, tokenizer)
    inner = getattr(tokenize, "tokenizer", None)
    if inner is not None:
        _hub_shared.check_vocabulary(inner, model.vocab_size, str(tokenizer or name))
    words = _hub_shared.identity(inner) if inner is not None else "open_clip's byte pairs"
    shaping = [source.config, pixels, words, tokenize.context_length]
    return TwoTowers(
        f"open_clip:{name}",
        model,
        pixels=like_open_clip(pixels)
        or OneByOne(image_transform_v2(PreprocessCfg(**pixels), is_train=False)),
        images=lambda network, pixels: network.encode_image(pixels),
        texts=lambda network, texts: network.encode_text(tokenize(texts).to(device)),
        embedding_dim=source.config["embed_dim"],
        fingerprint=_checkpoint.fingerprint(
            _SCHEMA, model.state_dict(), json.dumps(shaping, sort_keys=True)
        ),
        text_policy=_hub_shared.policy(sections, tokenize.context_length),
        device=device,
        details={
            "weights_sha256": checkpoint.sha256,
            "variant": f"open_clip:{name}",
            "source": source.card,
            "licence": "as the model's card states",
            "quick_gelu": str(bool(source.config.get("quick_gelu"))).lower(),
            "preprocessing": json.dumps(pixels, sort_keys=True),
        },
        checkpoint=source.checkpoint,
        folder=source.whole(tokenizer),
    )


def _build(source: Source, name: str) -> Any:
    from open_clip import CLIP, CoCa, CustomTextCLIP

    config = dict(source.config)
    # Otherwise the pretrained weights of the towers are downloaded, then replaced.
    vision, text = dict(config["vision_cfg"]), dict(config["text_cfg"])
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    if "hf_model_name" in text:
        text["hf_model_pretrained"] = False
        text["hf_model_name"] = str(source.part(name, "hf_model_name"))
    custom = config.pop("custom_text", False) or "hf_model_name" in text
    large = CoCa if "multimodal_cfg" in config else CustomTextCLIP
    try:
        # Loading must not advance the caller's generator.
        with torch.random.fork_rng(devices=[]):
            return (large if custom else CLIP)(**{**config, "vision_cfg": vision, "text_cfg": text})
    except (OSError, RuntimeError, TypeError, ValueError, KeyError) as error:
        raise WeightsError(
            f"open_clip:{name}: cannot create a model from its configuration"
            f" ({_hub_shared.reason(error)}); this open_clip may be too old for it"
        ) from error


def _convert_keys(state: dict[str, Tensor], model: Any, path: Path) -> dict[str, Tensor]:
    """Rename keys like open_clip; tensors that affect an embedding stay as they are."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    state = _checkpoint.rename(state, [(r"^module\.", "")], path=path)
    state = convert_state_dict(model, state)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    expected = model.state_dict()
    # They scale scores and do not affect an embedding.
    if "logit_bias" in expected:
        state.setdefault("logit_bias", torch.zeros(()))
    for key in {"logit_scale", "logit_bias"} & state.keys() & expected.keys():
        state[key] = state[key].reshape(expected[key].shape)
    return state


def _tokenizer(source: Source, name: str, folder: Path | None) -> Any:
    from open_clip import SimpleTokenizer
    from open_clip.tokenizer import HFTokenizer

    text = source.config["text_cfg"]
    settings = {
        "context_length": text.get("context_length", 77),
        **text.get("tokenizer_kwargs", {}),
    }
    if "hf_tokenizer_name" not in text:
        if folder is not None:
            raise UsageError(
                f"open_clip:{name} uses open_clip's own tokenizer; leave the option tokenizer out"
            )
        return SimpleTokenizer(**settings)
    folder = folder or source.part(name, "hf_tokenizer_name")
    try:
        return HFTokenizer(str(folder), tokenizer_mode=text.get("tokenizer_mode"), **settings)
    except (OSError, ValueError, ImportError) as error:
        raise _hub_shared.no_tokenizer(folder, error) from error
