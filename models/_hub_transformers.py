"""Loading of CLIP, SigLIP and vision-text dual encoders of transformers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from torch import Tensor

from robustness.errors import UsageError, WeightsError, WeightsNotFoundError
from robustness.models import _checkpoint, _hub_shared
from robustness.models._encoder import OneByOne, TwoTowers
from robustness.models._preprocessing import Size

CLASSES = {
    "clip": "CLIPModel",
    "siglip": "SiglipModel",
    "vision-text-dual-encoder": "VisionTextDualEncoderModel",
}
"""The supported values of ``model_type`` in config.json, and their classes."""

_FORMS = (
    "model.safetensors",
    "model-*-of-*.safetensors",
    "pytorch_model.bin",
    "pytorch_model-*-of-*.bin",
)
_COUNTS_FROM_PADDING = ("camembert", "roberta", "xlm-roberta")
_SCHEMA = "transformers-1"

LOCAL = "a local directory"
"""Source of a model that does not come from the hub."""


def load(
    name: str,
    weights: Path | None,
    *,
    sections: tuple[str, ...],
    tokenizer: Path | None,
    device: str,
    backend: str | None,
) -> TwoTowers:
    """Load a model of transformers; see :func:`robustness.models.hub.load`.

    Args:
        name: The part after ``transformers:``, a repository or a directory.
        weights: A directory in place of the hub.
        sections: The report sections that the model reads.
        tokenizer: A directory of a tokenizer in place of the model's own.
        device: A torch device.
        backend: The image processor of transformers; None for its default.
    """
    folder, card = _folder(name, weights)
    kind = _kind(folder, name)
    files = _weight_files(folder)
    # transformers reads the files again. This reading refuses damaged and hostile ones first.
    digests = [_checkpoint.read(file).sha256 for file in files]
    whole = hashlib.sha256("".join(digests).encode()).hexdigest()
    model = _model(folder, kind, files[0])
    processor = _image_processor(folder, backend)
    reader = _Reader(_tokenizer(tokenizer or folder), model.config, kind)
    _hub_shared.check_vocabulary(
        reader.tokenizer, model.config.text_config.vocab_size, str(tokenizer or folder)
    )
    shaping = {
        "kind": kind,
        "config": _described(model.config),
        "pixels": _described(processor),
        "processor": type(processor).__name__,
        "words": _hub_shared.identity(reader.tokenizer),
        "reading": [reader.limit, reader.padding, *reader.inputs],
    }
    return TwoTowers(
        f"transformers:{name}",
        model,
        pixels=_Processor(processor),
        images=lambda network, pixels: _pooled(network.get_image_features(pixel_values=pixels)),
        texts=lambda network, texts: _pooled(
            network.get_text_features(**reader.read(texts, device))
        ),
        embedding_dim=_embedding_dim(model.config, kind),
        fingerprint=_checkpoint.fingerprint(
            _SCHEMA, model.state_dict(), json.dumps(shaping, sort_keys=True)
        ),
        text_policy=_hub_shared.policy(sections, reader.limit),
        device=device,
        details={
            "weights_sha256": whole if len(digests) > 1 else digests[0],
            "variant": f"transformers:{name}",
            "source": card,
            "licence": "as the model's card states",
            "model_class": CLASSES[kind],
            "image_processor": type(processor).__name__,
            "text_padding": str(reader.padding),
            "text_inputs": ",".join(reader.inputs),
        },
        checkpoint=None,
        folder=folder if card == LOCAL else None,
    )


class _Reader:
    """Tokenizer with the padding and the inputs of a text tower.

    SigLIP pools the last position and was trained on texts padded to the full length. The
    others mask padding, so their texts are padded to the longest of a batch.
    """

    def __init__(self, tokenizer: Any, config: Any, kind: str) -> None:
        text = config.text_config
        positions = text.max_position_embeddings
        if text.model_type in _COUNTS_FROM_PADDING:
            positions -= text.pad_token_id + 1
        self.tokenizer = tokenizer
        self.limit = min(positions, tokenizer.model_max_length)
        self.padding = "max_length" if kind == "siglip" else "longest"
        # The published tokenizer of SigLIP has no attention mask.
        names = tokenizer.model_input_names
        self.inputs = [name for name in ("input_ids", "attention_mask") if name in names]

    def read(self, texts: list[str], device: str) -> dict[str, Tensor]:
        """Return token ids and, if the tokenizer has one, the attention mask."""
        encoded = self.tokenizer(
            texts,
            padding=self.padding,
            truncation=True,
            max_length=self.limit,
            return_tensors="pt",
        )
        return {name: encoded[name].to(device) for name in self.inputs}


def _embedding_dim(config: Any, kind: str) -> int:
    # SigLIP's towers have no projection after their pooling.
    return int(config.vision_config.hidden_size if kind == "siglip" else config.projection_dim)


def _pooled(output: Any) -> Tensor:
    # Older versions of transformers return the tensor, newer ones a structure with it.
    features: Tensor = getattr(output, "pooler_output", output)
    return features


class _Processor(OneByOne):
    """Image processor of transformers: one image at a time, or all on their device."""

    def __init__(self, processor: Any) -> None:
        super().__init__(lambda image: self._process([image])[0])
        self._processor = processor
        # torchvision has no Lanczos on a GPU; transformers would use another filter there.
        self.on_device = (
            getattr(processor, "backend", None) == "torchvision"
            and getattr(processor, "resample", None) != Image.Resampling.LANCZOS
        )

    def _process(self, images: list[Any], **form: str) -> Tensor:
        pixels: Tensor = self._processor(images=images, return_tensors="pt", **form)["pixel_values"]
        return pixels

    def device(self, images: Tensor, sizes: Sequence[Size]) -> Tensor:
        """See :class:`robustness.models._preprocessing.Pixels`."""
        channels = [
            image[:height, :width].expand(3, -1, -1)
            for image, (height, width) in zip(images, sizes, strict=True)
        ]
        return self._process(channels, input_data_format="channels_first")


def _folder(name: str, weights: Path | None) -> tuple[Path, str]:
    """Return the directory of the model's files, and the location of its card."""
    local = weights if weights is not None else Path(name)
    if weights is not None and not weights.exists():
        raise WeightsNotFoundError(
            f"transformers:{name}: directory {str(weights)!r} not found; name the one that"
            " contains config.json, the weights and the tokenizer"
        )
    if weights is not None and not weights.is_dir():
        raise WeightsError(
            f"weights {str(weights)!r} cannot be used: transformers:{name} takes the directory"
            " that contains config.json, the weights and the tokenizer"
        )
    if local.is_dir():
        return local, LOCAL
    for weight_files in ("*.safetensors", "*.bin"):
        folder = _hub_shared.snapshot(
            f"transformers:{name}", name, (weight_files, *_hub_shared.TEXT_FILES)
        )
        if list(folder.glob(weight_files)):
            break
    return folder, f"https://huggingface.co/{name}"


def _kind(folder: Path, name: str) -> str:
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except FileNotFoundError as error:
        raise WeightsError(
            f"directory {str(folder)!r} has no config.json; name one in the format of"
            " transformers' save_pretrained"
        ) from error
    except (OSError, ValueError, AttributeError) as error:
        raise _checkpoint.unusable(
            folder / "config.json", f"not a JSON object ({error})"
        ) from error
    if kind not in CLASSES:
        raise UsageError(
            f"transformers:{name}: unsupported model_type {kind!r}; supported are"
            f" {', '.join(CLASSES)}, without custom code; write a loader for others"
            " (CONTRIBUTING.md)"
        )
    return str(kind)


def _weight_files(folder: Path) -> list[Path]:
    for form in _FORMS:
        if files := sorted(folder.glob(form)):
            return files
    raise WeightsNotFoundError(
        f"directory {str(folder)!r} has no weights; it needs {' or '.join(_FORMS)}"
    )


def _model(folder: Path, kind: str, file: Path) -> Any:
    try:
        # Loading must not advance the caller's generator.
        with torch.random.fork_rng(devices=[]):
            model, info = getattr(transformers, CLASSES[kind]).from_pretrained(
                folder,
                trust_remote_code=False,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=file.suffix == ".safetensors",
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise _checkpoint.unusable(file, _hub_shared.reason(error)) from error
    unexpected = [key for key in info["unexpected_keys"] if not _checkpoint.is_tolerated(key)]
    _checkpoint.check_keys(file, info["missing_keys"], unexpected)
    if wrong := sorted(info["mismatched_keys"]):
        sizes = [f"{key} {list(size)}, not {list(expected)}" for key, size, expected in wrong[:3]]
        raise _checkpoint.unusable(file, f"wrong shapes: {'; '.join(sizes)}")
    _checkpoint.check_finite(file, model.state_dict())
    return model


def _image_processor(folder: Path, backend: str | None) -> Any:
    options = {} if backend is None else {"backend": backend}
    # Any: transformers has no types for this class.
    processors: Any = transformers.AutoImageProcessor
    try:
        return processors.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True, **options
        )
    except (OSError, ValueError, ImportError) as error:
        raise WeightsError(
            f"directory {str(folder)!r}: cannot create an image processor from it"
            f" ({_hub_shared.reason(error)}); it needs preprocessor_config.json"
        ) from error


def _tokenizer(folder: Path) -> Any:
    try:
        return transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError, ImportError) as error:
        raise _hub_shared.no_tokenizer(folder, error) from error


def _described(part: Any) -> str:
    """Return a configuration as JSON, without its path and the version that wrote it."""
    values = part.to_dict()
    for name in ("_name_or_path", "name_or_path", "transformers_version"):
        values.pop(name, None)
    return json.dumps(values, sort_keys=True, default=str)
