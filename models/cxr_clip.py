"""CXR-CLIP (You et al., 2023): Swin-tiny or ResNet-50 with Bio_ClinicalBERT.

Source: https://github.com/kakaobrain/cxr-clip, which links the weights: ``swint_m.tar``,
``swint_mc.tar``, ``swint_mcc.tar`` and ``r50_m.tar``, ``r50_mc.tar``, ``r50_mcc.tar`` (trained
on MIMIC-CXR, with CheXpert, with ChestX-ray14). They are torch.save files, not tar archives.
Licence: CC BY-NC-SA 4.0 by its LICENSE file, CC BY-NC 4.0 by its README; both exclude
commercial use.

Citation: K. You, J. Gu, J. Ham, B. Park, J. Kim, E. K. Hong, W. Baek, B. Roh. CXR-CLIP: Toward
Large Scale Chest X-ray Language-Image Pre-training. MICCAI 2023.

Text: the findings or the impression, whichever is longer, 256 tokens. The published recalls
on MIMIC-CXR can be reproduced only with this choice (issue 10 of the repository).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from robustness.encoder import TextPolicy
from robustness.models import _clinical
from robustness.models._clinical import EMBEDDING_DIM, PIXELS, Network, Shapes
from robustness.models._encoder import TwoTowers
from robustness.models._preprocessing import Preprocessing, ShortSide

if TYPE_CHECKING:
    from robustness.evalset import Report

MAX_TOKENS = 256
"""Maximum number of tokens that are read of a text, [CLS] and [SEP] included."""

_STATISTICS = {
    "swin": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "resnet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclass(frozen=True, slots=True)
class LongestSection(TextPolicy):
    """Text policy that selects the longest section; in a tie, the first one.

    Attributes:
        selection: A description of the rule, for the result.
    """

    selection: str = "the longest of the sections, by its characters"

    def text(self, report: Report) -> str:
        """Return the longest section of ``report``, or an empty text if it has none of them."""
        return max((report.text([section]) for section in self.sections), key=len)


class CxrClipNetwork(Network):
    """Towers of CXR-CLIP with the published parameter names.

    Args:
        shapes: The configurations of the towers.
        variant: The image tower.
    """

    def __init__(self, shapes: Shapes, variant: str) -> None:
        super().__init__()
        if variant == "resnet":
            image_dim = _clinical.RESNET_DIM
            self.image_encoder = nn.ModuleDict({"resnet": _clinical.build_resnet(nn.Identity())})
        else:
            image_dim = shapes.swin.hidden_size
            self.image_encoder = nn.ModuleDict({"image_encoder": _clinical.build_swin(shapes.swin)})
        self.text_encoder = nn.ModuleDict({"text_encoder": _clinical.build_bert(shapes.bert)})
        self.image_projection = nn.ModuleDict({"projection": nn.Linear(image_dim, EMBEDDING_DIM)})
        self.text_projection = nn.ModuleDict(
            {"projection": nn.Linear(shapes.bert.hidden_size, EMBEDDING_DIM)}
        )
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def image_features(self, pixels: Tensor) -> Tensor:
        """Project Swin's first token, which upstream uses as [CLS], or ResNet's pooled feature."""
        if "resnet" in self.image_encoder:
            features = self.image_encoder["resnet"](pixels)
        else:
            features = self.image_encoder["image_encoder"](pixels).last_hidden_state[:, 0]
        return torch.as_tensor(self.image_projection["projection"](features))

    def text_features(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Project the last hidden state of [SEP], the last token before the padding."""
        hidden = self.text_encoder["text_encoder"](input_ids=ids, attention_mask=mask)
        rows = torch.arange(len(ids), device=ids.device)
        features = hidden.last_hidden_state[rows, mask.sum(dim=1) - 1]
        return torch.as_tensor(self.text_projection["projection"](features))


PUBLICATION = _clinical.Publication(
    name="CXR-CLIP",
    loader="robustness.models.cxr_clip:load",
    filenames={
        "swin": ("swint_mcc.tar", "swint_mc.tar", "swint_m.tar"),
        "resnet": ("r50_mcc.tar", "r50_mc.tar", "r50_m.tar"),
    },
    where="https://github.com/kakaobrain/cxr-clip (licence: CC BY-NC-SA 4.0, not commercial)",
    prefixes={"swin": "image_encoder.image_encoder.", "resnet": "image_encoder.resnet."},
    network=CxrClipNetwork,
    preprocessing={
        variant: Preprocessing(ShortSide(PIXELS, "bilinear"), mean, std)
        for variant, (mean, std) in _STATISTICS.items()
    },
    schema=f"cxr-clip-1 short side {PIXELS} bilinear crop {_STATISTICS} first [SEP] lower-cased",
    text_policy=LongestSection(
        sections=("findings", "impression"),
        max_tokens=MAX_TOKENS,
        truncation=f"the first {MAX_TOKENS - 1} tokens are kept, then [SEP]",
    ),
    details={
        "source": "https://github.com/kakaobrain/cxr-clip",
        "licence": "CC BY-NC-SA 4.0 by its LICENSE file, CC BY-NC 4.0 by its README",
    },
)


def load(weights: str | Path | None = None, device: str = "cpu", **options: Any) -> TwoTowers:
    """Load CXR-CLIP; the image tower is detected from the checkpoint.

    Args:
        weights: A published ``.tar`` or a plain state dict; None to search the folder in
            ROBUSTNESS_WEIGHTS, Swin before ResNet and the largest training set first.
        device: A torch device such as ``cpu`` or ``cuda:0``.
        **options: ``tokenizer``, Bio_ClinicalBERT's vocabulary file or a directory with it
            (default: the hub's); ``variant``, ``swin`` or ``resnet``, to refuse a checkpoint of
            the other.

    Raises:
        UsageError: An option or its value is unknown.
        WeightsNotFoundError: The weights or the vocabulary are not found.
        WeightsError: They belong to another model, or are damaged.
    """
    return PUBLICATION.load(weights, device, options)
