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
from transformers import BertConfig, SwinConfig

from robustness.encoder import TextPolicy
from robustness.models import _bert, _vision
from robustness.models._bert import EMBEDDING_DIM, Network, Tokenizer
from robustness.models._checkpoint import Checkpoint
from robustness.models._clinical import Publication
from robustness.models._encoder import TwoTowers
from robustness.models._preprocessing import BlackSquare, Preprocessing
from robustness.models._vision import PIXELS, Shapes

MAX_TOKENS = 77
"""Maximum number of tokens that are read of a text, [CLS] and [SEP] included."""

PADDINGS = ("masked", "upstream")
"""Allowed values of ``padding``: mask it in the average of a text, or count it as upstream."""

_MEAN, _STD = 0.5862785803043838, 0.27950088968644304
_PREPROCESSING = Preprocessing(BlackSquare(PIXELS, "bicubic"), (_MEAN,) * 3, (_STD,) * 3)
_SCHEMA = f"medclip-1 pad {PIXELS} bicubic {_MEAN} {_STD} hidden 1 2 -1 lower-cased"
_PUBLICATION = Publication(
    name="MedCLIP",
    loader="robustness.models.medclip:load",
    options=("tokenizer", "variant", "padding"),
    filenames={"swin": ("medclip-vit-pretrained.zip",), "resnet": ("medclip-pretrained.zip",)},
    where=(
        "https://storage.googleapis.com/pytrial/ (licence: BSD by the code's setup.py, none stated"
        " for the weights)"
    ),
    prefixes={"swin": "vision_model.model.encoder.", "resnet": "vision_model.model.layer1."},
    max_tokens=MAX_TOKENS,
    details={
        "source": "https://github.com/RyanWangZf/MedCLIP",
        "licence": "BSD by the code's setup.py; none stated for the weights",
    },
)


class MedClipNetwork(Network):
    """Towers of MedCLIP with the published parameter names; see :class:`~robustness.models._bert.Network`.

    Args:
        bert: The configuration of the text tower.
        swin: The configuration of the image tower; None for the ResNet-50.
        masked: If True, exclude padding from the average of a text.
    """

    def __init__(self, bert: BertConfig, swin: SwinConfig | None, *, masked: bool = True) -> None:
        super().__init__()
        self._masked = masked
        if swin is None:
            head = nn.Linear(_vision.RESNET_DIM, EMBEDDING_DIM, bias=False)
            self.vision_model = nn.ModuleDict({"model": _vision.build_resnet(head)})
        else:
            self.vision_model = nn.ModuleDict(
                {
                    "model": _vision.build_swin(swin),
                    "projection_head": nn.Linear(swin.hidden_size, EMBEDDING_DIM, bias=False),
                }
            )
        self.text_model = nn.ModuleDict(
            {
                "model": _bert.build_bert(bert),
                "projection_head": nn.Linear(bert.hidden_size, EMBEDDING_DIM, bias=False),
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


def load(
    weights: str | Path | None = None,
    device: str = "cpu",
    *,
    tokenizer: str | Path | None = None,
    variant: str | None = None,
    padding: str = "masked",
    **unknown: Any,
) -> TwoTowers:
    """Load MedCLIP; the image tower is detected from the checkpoint.

    Args:
        weights: The published zip or the ``pytorch_model.bin`` in it; None to search the
            folder in ROBUSTNESS_WEIGHTS for the zip, Swin before ResNet.
        device: A torch device such as ``cpu`` or ``cuda:0``.
        tokenizer: Bio_ClinicalBERT's vocabulary file or a directory with it; None for the hub.
        variant: ``swin`` or ``resnet`` to refuse a checkpoint of the other; None for any.
        padding: ``masked``, or ``upstream`` to average over the padding of the batch as upstream.
        **unknown: No further options are allowed.

    Raises:
        UsageError: An option or its value is unknown.
        WeightsNotFoundError: The weights or the vocabulary are not found.
        WeightsError: They belong to another model, or are damaged.
    """
    _PUBLICATION.check_choice("padding", padding, PADDINGS)
    checkpoint, words, shapes, detected = _PUBLICATION.read(weights, tokenizer, variant, unknown)
    return build(checkpoint, words, shapes, detected, device, padding=padding)


def build(
    checkpoint: Checkpoint,
    tokenizer: Tokenizer,
    shapes: Shapes,
    variant: str,
    device: str = "cpu",
    *,
    padding: str = "masked",
) -> TwoTowers:
    """Load a checkpoint into towers of the given shapes; :func:`load` uses the published ones.

    Raises:
        WeightsError: The checkpoint does not match the towers.
    """
    # The initial weights are random. Loading must not advance the caller's generator.
    with torch.random.fork_rng(devices=[]):
        network = MedClipNetwork(
            shapes.bert, shapes.swin if variant == "swin" else None, masked=padding == "masked"
        )
    return _PUBLICATION.encoder(
        network,
        checkpoint,
        tokenizer,
        preprocessing=_PREPROCESSING,
        schema=_SCHEMA,
        variant=variant,
        text_policy=TextPolicy(
            sections=("impression",),
            max_tokens=MAX_TOKENS,
            truncation=f"the first {MAX_TOKENS - 1} tokens are kept, then [SEP]",
        ),
        device=device,
        options={"padding": padding},
    )
