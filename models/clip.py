"""CLIP ViT-B/32 (OpenAI): a general-purpose model, not trained on radiographs.

Source: https://github.com/openai/CLIP, ``ViT-B-32.pt``; also on the Hugging Face hub under
open_clip's name. Licence: MIT. Citation: Radford et al., Learning Transferable Visual
Models From Natural Language Supervision, ICML 2021.

Text: the findings and the impression, truncated to 77 tokens with the end token kept. Most
reports are longer; the rest is not read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robustness.errors import WeightsNotFoundError
from robustness.models import _checkpoint, _clip, _hub_open_clip
from robustness.models._encoder import TwoTowers
from robustness.models._preprocessing import Preprocessing, ShortSide

FILENAME = "ViT-B-32.pt"
SHA256 = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
WHERE = (
    "https://openaipublic.azureedge.net/clip/models/"
    f"{SHA256}/{FILENAME} (MIT, https://github.com/openai/CLIP)"
)

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

_OPTIONS = ("architecture",)


def load(weights: str | Path | None = None, device: str = "cpu", **options: Any) -> TwoTowers:
    """Load CLIP.

    Args:
        weights: ``ViT-B-32.pt``, the TorchScript archive or a plain state dict, in half or
            single precision; None to search the folder in ROBUSTNESS_WEIGHTS, then the hub.
        device: A torch device such as ``cpu`` or ``cuda:0``.
        **options: ``architecture``, the open_clip configuration of another of OpenAI's vision
            transformers, such as ``ViT-L-14-quickgelu``.

    Raises:
        UsageError: An option is unknown.
        WeightsNotFoundError: The weights are neither on this machine nor on the hub.
        WeightsError: The file is damaged or has another model.
    """
    name = _clip.architecture(options, _OPTIONS, "robustness.models.clip:load")
    return _clip.encoder(
        "CLIP",
        _find(weights, name),
        name,
        pixels=_preprocessing,
        shaping=f"short side bicubic, centre crop, {MEAN}, {STD}",
        sections=("findings", "impression"),
        device=device,
        details={"source": "https://github.com/openai/CLIP", "licence": "MIT"},
        published_as=(FILENAME, SHA256),
    )


def _preprocessing(side: int) -> Preprocessing:
    return Preprocessing(ShortSide(side, "bicubic"), MEAN, STD)


def _find(weights: str | Path | None, name: str) -> Path:
    from open_clip import get_pretrained_cfg

    try:
        return _checkpoint.find("CLIP", weights, (FILENAME,), WHERE)
    except WeightsNotFoundError as not_found:
        published = get_pretrained_cfg(name, "openai")
        if weights is not None or not published:
            raise
        try:
            return _hub_open_clip.hub_weights("CLIP", published["hf_hub"])
        except WeightsNotFoundError as not_on_hub:
            raise WeightsNotFoundError(f"{not_found}; nor does the hub provide it") from not_on_hub
