"""MedCLIP (Wang et al., 2022): Swin-tiny or ResNet-50 with Bio_ClinicalBERT.

Source: https://github.com/RyanWangZf/MedCLIP. Weights: ``medclip-vit-pretrained.zip`` (Swin)
and ``medclip-pretrained.zip`` (ResNet) under https://storage.googleapis.com/pytrial/; each
contains a ``pytorch_model.bin``. Licence: BSD by the setup.py of the code, which has no LICENSE
file; none stated for the weights.

Citation: Z. Wang, Z. Wu, D. Agarwal, J. Sun. MedCLIP: Contrastive Learning from Unpaired
Medical Images and Text. EMNLP 2022.

Text: the impression, 77 tokens. **The model was trained on single lower-cased sentences: a
whole report is outside its training distribution**, and its metrics on reports do not show
its performance on sentences.

Upstream averages a text's features over its padding as well, so an embedding depends on the
longest text of its batch. Here the padding is masked, which equals upstream with one text per
batch. ``padding="upstream"`` restores the dependence, to reproduce published figures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robustness.encoder import TextPolicy
from robustness.models import _clinical
from robustness.models._clinical import EMBEDDING_DIM, PIXELS, VARIANTS, Network, Shapes
from robustness.models._encoder import TwoTowers
from robustness.models._preprocessing import BlackSquare, Preprocessing

MAX_TOKENS = 77
"""Maximum number of tokens that are read of a text, [CLS] and [SEP] included."""

_MEAN, _STD = 0.5862785803043838, 0.27950088968644304


class MedClipNetwork(Network):
    """Towers of MedCLIP with the published parameter names.

    Args:
        shapes: The configurations of the towers.
        variant: The image tower.
        padding: ``masked`` to exclude padding from the average of a text, or ``upstream``.
    """

    def __init__(self, shapes: Shapes, variant: str, padding: str = "masked") -> None:
        super().__init__()
        self._masked = padding == "masked"
        if variant == "resnet":
            head = nn.Linear(_clinical.RESNET_DIM, EMBEDDING_DIM, bias=False)
            self.vision_model = nn.ModuleDict({"model": _clinical.build_resnet(head)})
        else:
            self.vision_model = nn.ModuleDict(
                {
                    "model": _clinical.build_swin(shapes.swin),
                    "projection_head": nn.Linear(
                        shapes.swin.hidden_size, EMBEDDING_DIM, bias=False
                    ),
                }
            )
        self.text_model = nn.ModuleDict(
            {
                "model": _clinical.build_bert(shapes.bert),
                "projection_head": nn.Linear(shapes.bert.hidden_size, EMBEDDING_DIM, bias=False),
            }
        )
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def image_features(self, pixels: Tensor) -> Tensor:
        """Project the mean of Swin's normalised tokens, or ResNet's pooled feature."""
        features = self.vision_model["model"](pixels)
        if "projection_head" in self.vision_model:
            features = self.vision_model["projection_head"](features.pooler_output)
        return torch.as_tensor(features)

    def text_features(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Project hidden states 1, 2 and -1, averaged over layers and tokens."""
        output = self.text_model["model"](
            input_ids=ids, attention_mask=mask, output_hidden_states=True
        )
        states = output.hidden_states
        tokens = torch.stack([states[1], states[2], states[-1]]).mean(dim=0)
        counted = (mask if self._masked else torch.ones_like(mask)).unsqueeze(2).to(tokens.dtype)
        mean = (tokens * counted).sum(dim=1) / counted.sum(dim=1)
        return torch.as_tensor(self.text_model["projection_head"](mean))


PUBLICATION = _clinical.Publication(
    name="MedCLIP",
    loader="robustness.models.medclip:load",
    filenames={"swin": ("medclip-vit-pretrained.zip",), "resnet": ("medclip-pretrained.zip",)},
    where=(
        "https://storage.googleapis.com/pytrial/ (licence: BSD by the code's setup.py, none stated"
        " for the weights)"
    ),
    prefixes={"swin": "vision_model.model.encoder.", "resnet": "vision_model.model.layer1."},
    network=MedClipNetwork,
    preprocessing=dict.fromkeys(
        VARIANTS, Preprocessing(BlackSquare(PIXELS, "bicubic"), (_MEAN,) * 3, (_STD,) * 3)
    ),
    schema=f"medclip-1 pad {PIXELS} bicubic {_MEAN} {_STD} hidden 1 2 -1 lower-cased",
    text_policy=TextPolicy(
        sections=("impression",),
        max_tokens=MAX_TOKENS,
        truncation=f"the first {MAX_TOKENS - 1} tokens are kept, then [SEP]",
    ),
    details={
        "source": "https://github.com/RyanWangZf/MedCLIP",
        "licence": "BSD by the code's setup.py; none stated for the weights",
    },
    choices={"padding": ("masked", "upstream")},
)


def load(weights: str | Path | None = None, device: str = "cpu", **options: Any) -> TwoTowers:
    """Load MedCLIP; the image tower is detected from the checkpoint.

    Args:
        weights: The published zip or the ``pytorch_model.bin`` in it; None to search the
            folder in ROBUSTNESS_WEIGHTS for the zip, Swin before ResNet.
        device: A torch device such as ``cpu`` or ``cuda:0``.
        **options: ``tokenizer``, Bio_ClinicalBERT's vocabulary file or a directory with it
            (default: the hub's); ``variant``, ``swin`` or ``resnet``, to refuse a checkpoint of
            the other; ``padding``, ``masked`` (default), or ``upstream`` to average over the
            padding of the batch as upstream.

    Raises:
        UsageError: An option or its value is unknown.
        WeightsNotFoundError: The weights or the vocabulary are not found.
        WeightsError: They belong to another model, or are damaged.
    """
    return PUBLICATION.load(weights, device, options)
