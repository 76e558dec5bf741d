"""Loading of open_clip models: published, on the hub, or in a directory like the hub's."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustness.errors import UsageError, WeightsError, WeightsNotFoundError
from robustness.models import _checkpoint, _hub_shared
from robustness.models._encoder import OneByOne, TwoTowers
from robustness.models._preprocessing import like_open_clip

CONFIGURATION = "open_clip_config.json"
FILENAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)

PARTS = {"hf_model_name": "config.json", "hf_tokenizer_name": "tokenizer_config.json"}
"""Parts that open_clip takes from transformers, and the file that shows a directory has one."""

_HUB, _FOLDER = "hf-hub:", "local-dir:"
_SCHEMA = "open-clip-1"


@dataclass(frozen=True)
class Source:
    """Source of a model.

    Attributes:
        config: The architecture.
        preprocessing: Changes to open_clip's default preprocessing.
        checkpoint: The weights file.
        card: The location of the model card, with source and licence.
        folder: The local directory that may contain the tokenizer; None for the hub.
    """

    config: dict[str, Any]
    preprocessing: dict[str, Any]
    checkpoint: Path
    card: str
    folder: Path | None

    def part(self, name: str, key: str) -> Path:
        """Return the directory of one of :data:`PARTS`: a local one, or a hub snapshot."""
        if self.folder is not None and (self.folder / PARTS[key]).is_file():
            return self.folder
        repository = str(self.config["text_cfg"][key])
        return _hub_shared.snapshot(f"open_clip:{name}", repository, _hub_shared.TEXT_FILES)

    def whole(self, tokenizer: Path | None) -> Path | None:
        """Return the folder of the whole model except its weights; None if a part is on the hub.

        A ``tokenizer`` directory replaces the model's own.
        """
        if self.folder is None or ":" in (self.config["vision_cfg"].get("timm_model_name") or ""):
            return None
        needed = dict(PARTS)
        if tokenizer is not None:
            del needed["hf_tokenizer_name"]
        parts = [file for key, file in needed.items() if key in self.config["text_cfg"]]
        return self.folder if all((self.folder / file).is_file() for file in parts) else None


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


def find(name: str, weights: Path | None) -> Source:
    """Find the source of a model; see :func:`load`."""
    folder = Path(name.removeprefix(_FOLDER))
    if weights is not None and weights.is_dir() and name.startswith(_HUB):
        folder, weights = weights, None
    elif name.startswith(_HUB):
        return _from_hub(name.removeprefix(_HUB), weights)
    elif not (name.startswith(_FOLDER) or folder.is_dir()):
        return _published(name, weights)
    config, pixels = _configuration(folder / CONFIGURATION)
    checkpoint = weights or _weights_in(folder)
    return Source(config, pixels, checkpoint, "a local directory", folder)


def _weights_in(folder: Path) -> Path:
    for filename in FILENAMES:
        if (folder / filename).is_file():
            return folder / filename
    raise WeightsNotFoundError(
        f"directory {str(folder)!r} has no weights; it needs {' or '.join(FILENAMES)},"
        " or name the file as the model's weights"
    )


def _from_hub(repository: str, weights: Path | None) -> Source:
    for filename in FILENAMES:
        wanted = (CONFIGURATION,) if weights is not None else (CONFIGURATION, filename)
        folder = _hub_shared.snapshot(f"open_clip:{_HUB}{repository}", repository, wanted)
        if weights is not None or (folder / filename).is_file():
            break
    config, pixels = _configuration(folder / CONFIGURATION)
    checkpoint = weights or _weights_in(folder)
    return Source(config, pixels, checkpoint, f"https://huggingface.co/{repository}", None)


def _published(name: str, weights: Path | None) -> Source:
    from open_clip import get_model_config, get_pretrained_cfg
    from open_clip import list_pretrained_tags_by_model as tags

    architecture, _, tag = name.partition("/")
    config = get_model_config(architecture)
    if config is None:
        raise UsageError(
            f"open_clip:{name}: neither an architecture {architecture!r} of open_clip nor a"
            " directory; list the architectures with"
            " python -c 'import open_clip; print(open_clip.list_models())'"
        )
    published = get_pretrained_cfg(architecture, tag) if tag else {}
    if (tag and not published) or (not tag and weights is None):
        raise UsageError(
            f"open_clip:{name}: weights {tag!r} are not published for {architecture}; name one of"
            f" {', '.join(tags(architecture)) or 'none'}, or a checkpoint as the model's weights"
        )
    if tag and bool(published.get("quick_gelu")) != bool(config.get("quick_gelu")):
        raise UsageError(
            f"open_clip:{name}: these weights were trained with another activation than that of"
            f" {architecture}; name {_sibling(architecture)}/{tag}"
        )
    if weights is not None:
        return Source(config, published, weights, "a local file", None)
    where = published["hf_hub"]
    card = f"https://huggingface.co/{where.rpartition('/')[0]}"
    return Source(config, published, hub_weights(f"open_clip:{name}", where), card, None)


def hub_weights(name: str, published_at: str) -> Path:
    """Return the weights file of a model in open_clip's list, from the hub or its cache.

    Args:
        name: The requested model, for the error message.
        published_at: The entry of open_clip, ``organisation/name/`` or with a file name.

    Raises:
        WeightsNotFoundError: The hub does not provide it.
    """
    repository, _, published = published_at.rpartition("/")
    for filename in (published,) if published else FILENAMES:
        folder = _hub_shared.snapshot(name, repository, (filename,))
        if (folder / filename).is_file():
            return folder / filename
    return _weights_in(folder)


def _sibling(architecture: str) -> str:
    plain = architecture.removesuffix("-quickgelu")
    return plain if plain != architecture else f"{architecture}-quickgelu"


def _configuration(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        config, pixels = whole["model_cfg"], whole.get("preprocess_cfg") or {}
        if config["embed_dim"] and config["vision_cfg"] and config["text_cfg"]:
            return dict(config), dict(pixels)
    except FileNotFoundError as error:
        raise WeightsError(
            f"directory {str(path.parent)!r} has no {CONFIGURATION}; name one in the format of"
            " open_clip's published models"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _checkpoint.unusable(path, f"not a configuration of open_clip ({error!r})") from error
    raise _checkpoint.unusable(path, "a part of its model_cfg is empty")
