"""CXR-RePaiR (Endo et al., 2021): CLIP ViT-B/32, fine-tuned on MIMIC-CXR impressions.

Source: https://github.com/rajpurkarlab/CXR-RePaiR, ``clip-imp-pretrained_128_6_after_4.pt``.
Licence: MIT for the code; none stated for the weights, which were trained on MIMIC-CXR.
Citation: Endo et al., Retrieval-Based Chest X-Ray Report Generation Using a Pre-trained
Contrastive Language-Image Model, ML4H 2021.

Text: the impression, its lines joined, truncated to 77 tokens with the end token kept.

CheXzero (https://github.com/rajpurkarlab/CheXzero, Tiu et al. 2022) has the same format and
preprocessing: pass its checkpoint as the weights.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch.nn.functional as F  # noqa: N812 - torch's own habit

from robustness.errors import UsageError
from robustness.models import _checkpoint, _clip
from robustness.models._encoder import TwoTowers
from robustness.models._preprocessing import Letterbox, Preprocessing

FILENAME = "clip-imp-pretrained_128_6_after_4.pt"
WHERE = (
    "the link in the README of https://github.com/rajpurkarlab/CXR-RePaiR"
    " (code MIT, no licence stated for the weights)"
)

CANVAS = 320
"""Height and width of the black square that an image is padded to."""

MEAN = (101.48761,) * 3
STD = (83.43944,) * 3

_OPTIONS = ("antialias", "architecture")


def load(weights: str | Path | None = None, device: str = "cpu", **options: Any) -> TwoTowers:
    """Load CXR-RePaiR or CheXzero.

    Args:
        weights: The checkpoint, a plain state dict of CLIP; None to search the folder
            in ROBUSTNESS_WEIGHTS.
        device: A torch device such as ``cpu`` or ``cuda:0``.
        **options: ``antialias``, true to antialias the resize from 320 to 224 (default false,
            as in the torchvision version that the upstream README names; later versions
            antialias by default); ``architecture``, the open_clip configuration of a model of
            another size in this format.

    Raises:
        UsageError: An option is unknown or has an invalid value.
        WeightsNotFoundError: The weights are not on this machine.
        WeightsError: The file is damaged or has another model.
    """
    name = _clip.architecture(options, _OPTIONS, "robustness.models.cxr_repair:load")
    # The value is text on the command line, and a bool in thresholds.yaml.
    value = str(options.get("antialias", False)).lower()
    if value not in {"true", "false"}:
        raise UsageError(
            f"robustness.models.cxr_repair:load: invalid antialias={options['antialias']!r};"
            " set true or false"
        )
    antialias = value == "true"
    return _clip.encoder(
        "CXR-RePaiR",
        _checkpoint.find("CXR-RePaiR", weights, (FILENAME,), WHERE),
        name,
        pixels=partial(_preprocessing, antialias=antialias),
        shaping=f"lanczos {CANVAS}, {MEAN}, {STD}, bicubic antialias {antialias}",
        sections=("impression",),
        device=device,
        details={
            "source": "https://github.com/rajpurkarlab/CXR-RePaiR",
            "licence": "code MIT, none stated for the weights",
            "antialias": value,
        },
        published_as=(FILENAME, None),
    )


def _preprocessing(side: int, *, antialias: bool) -> Preprocessing:
    return Preprocessing(
        Letterbox(CANVAS, "lanczos"),
        MEAN,
        STD,
        scale=1,
        finish=partial(F.interpolate, size=(side, side), mode="bicubic", antialias=antialias),
    )
