"""CXR-CLIP (You et al., 2023): Swin-tiny or ResNet-50 beside Bio_ClinicalBERT.

Source: https://github.com/kakaobrain/cxr-clip, which links the weights: ``swint_m.tar``,
``swint_mc.tar``, ``swint_mcc.tar`` and ``r50_m.tar``, ``r50_mc.tar``, ``r50_mcc.tar`` (trained
on MIMIC-CXR, with CheXpert, with ChestX-ray14). They are torch.save files, not tar archives.
Licence: CC BY-NC-SA 4.0 by its LICENSE file, CC BY-NC 4.0 by its README; not for commercial
use under either.

Citation: K. You, J. Gu, J. Ham, B. Park, J. Kim, E. K. Hong, W. Baek, B. Roh. CXR-CLIP: Toward
Large Scale Chest X-ray Language-Image Pre-training. MICCAI 2023.

Text: the findings or the impression, whichever is longer, 256 tokens. Others could repeat the
published recalls on MIMIC-CXR only once that was known (issue 10 there).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, SwinConfig

from models import _bert, _checkpoint, _vision
from models._bert import EMBEDDING_DIM, Network, Tokenizer
from models._checkpoint import Checkpoint
from models._encoder import TwoTowers
from models._preprocessing import Preprocessing, ShortSide
from models._vision import PIXELS, VARIANTS, Shapes, published_shapes
from robustness.encoder import TextPolicy

if TYPE_CHECKING:
    from robustness.evalset import Report

MAX_TOKENS = 256
"""How many tokens of a text are read, [CLS] and [SEP] included."""

_FILES = {
    "swin": ("swint_mcc.tar", "swint_mc.tar", "swint_m.tar"),
    "resnet": ("r50_mcc.tar", "r50_mc.tar", "r50_m.tar"),
}
_WHERE = "https://github.com/kakaobrain/cxr-clip (licence: CC BY-NC-SA 4.0, not commercial)"
_OPTIONS = ("tokenizer", "variant")
_PREFIXES = {"swin": "image_encoder.image_encoder.", "resnet": "image_encoder.resnet."}
_STATISTICS = {
    "swin": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "resnet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
_PREPROCESSING = {
    variant: Preprocessing(ShortSide(PIXELS, "bilinear"), mean, std)
    for variant, (mean, std) in _STATISTICS.items()
}
_SCHEMA = f"cxr-clip-1 short side {PIXELS} bilinear crop {_STATISTICS} first [SEP] lower-cased"
_NAME = "models.cxr_clip:load"


@dataclass(frozen=True, slots=True)
class LongestSection(TextPolicy):
    """The longest of the sections is read, the first of them where two are equally long.

    Attributes:
        selection: What is read of the sections, in words, for the result.
    """

    selection: str = "the longest of the sections, by its characters"

    def text(self, report: Report) -> str:
        """The longest section of ``report``; empty where it has none of them."""
        return max((report.text([section]) for section in self.sections), key=len)


class CxrClipNetwork(Network):
    """CXR-CLIP's towers under its published keys; see :class:`~models._bert.Network`.

    Args:
        bert: The text tower's shape.
        swin: The image tower's shape; None for the ResNet-50.
    """

    def __init__(self, bert: BertConfig, swin: SwinConfig | None) -> None:
        super().__init__()
        if swin is None:
            image_dim = _vision.RESNET_DIM
            self.image_encoder = nn.ModuleDict({"resnet": _vision.build_resnet(nn.Identity())})
        else:
            image_dim = swin.hidden_size
            self.image_encoder = nn.ModuleDict({"image_encoder": _vision.build_swin(swin)})
        self.text_encoder = nn.ModuleDict({"text_encoder": _bert.build_bert(bert)})
        self.image_projection = nn.ModuleDict({"projection": nn.Linear(image_dim, EMBEDDING_DIM)})
        self.text_projection = nn.ModuleDict(
            {"projection": nn.Linear(bert.hidden_size, EMBEDDING_DIM)}
        )
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def image_features(self, pixels: Tensor) -> Tensor:
        """Swin's first token, as upstream takes it for a [CLS], or ResNet's pool; projected."""
        if "resnet" in self.image_encoder:
            features = self.image_encoder["resnet"](pixels)
        else:
            features = self.image_encoder["image_encoder"](pixels).last_hidden_state[:, 0]
        return torch.as_tensor(self.image_projection["projection"](features))

    def text_features(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The last hidden state at the last token that is no padding, [SEP]; projected."""
        hidden = self.text_encoder["text_encoder"](input_ids=ids, attention_mask=mask)
        rows = torch.arange(len(ids), device=ids.device)
        features = hidden.last_hidden_state[rows, mask.sum(dim=1) - 1]
        return torch.as_tensor(self.text_projection["projection"](features))


def load(
    weights: str | Path | None = None,
    device: str = "cpu",
    *,
    tokenizer: str | Path | None = None,
    variant: str | None = None,
    **unknown: Any,
) -> TwoTowers:
    """Loads CXR-CLIP; which image tower it has is read off the checkpoint.

    Args:
        weights: A published ``.tar`` or a plain state dict; None to look in the folder that
            ROBUSTNESS_WEIGHTS names, Swin before ResNet and the widest training set first.
        device: A torch device such as ``cpu`` or ``cuda:0``.
        tokenizer: Bio_ClinicalBERT's vocabulary file or a directory with it; None for the hub.
        variant: ``swin`` or ``resnet``, where a checkpoint of the other is to be refused.
        **unknown: There are no further options.

    Raises:
        UsageError: An option or its value is unknown.
        WeightsNotFoundError: The weights or the vocabulary are not there.
        WeightsError: They are not this model's, or damaged.
    """
    _bert.refuse_unknown(_NAME, unknown, _OPTIONS)
    if variant is not None:
        _bert.choose(_NAME, "variant", variant, VARIANTS)
    filenames = [file for name in VARIANTS if variant in {None, name} for file in _FILES[name]]
    path = _checkpoint.find("CXR-CLIP", weights, filenames, _WHERE)
    shapes = published_shapes()
    words = _bert.load_tokenizer(tokenizer, shapes.bert.vocab_size, MAX_TOKENS)
    checkpoint = _checkpoint.read(path)
    found = _vision.recognise(checkpoint.state, _PREFIXES, path, variant)
    return build(checkpoint, words, shapes, found, device)


def build(
    checkpoint: Checkpoint,
    tokenizer: Tokenizer,
    shapes: Shapes,
    variant: str,
    device: str = "cpu",
) -> TwoTowers:
    """Puts a checkpoint into towers of the given shapes; :func:`load` gives the published ones.

    Raises:
        WeightsError: The checkpoint does not fit.
    """
    # The towers start from random weights: loading must not advance the caller's numbers.
    with torch.random.fork_rng(devices=[]):
        network = CxrClipNetwork(shapes.bert, shapes.swin if variant == "swin" else None)
    path = checkpoint.path
    state = _checkpoint.rename(checkpoint.state, _vision.SWIN_RENAMES, path=path)
    _checkpoint.load_strictly(
        network, state, path=path, tolerated=(*_bert.TOLERATED, *_vision.SWIN_TOLERATED)
    )
    return TwoTowers(
        "CXR-CLIP",
        network,
        pixels=_PREPROCESSING[variant],
        images=CxrClipNetwork.image_features,
        texts=lambda network, texts: network.text_features(
            *(part.to(device) for part in tokenizer(texts))
        ),
        embedding_dim=EMBEDDING_DIM,
        fingerprint=_checkpoint.fingerprint(
            _SCHEMA, network.state_dict(), variant, tokenizer.sha256
        ),
        text_policy=LongestSection(
            sections=("findings", "impression"),
            max_tokens=MAX_TOKENS,
            truncation=f"the first {MAX_TOKENS - 1} tokens are kept, then [SEP]",
        ),
        device=device,
        details={
            "weights_sha256": checkpoint.sha256,
            "weights_file": path.name,
            "sha256_matches_published": _checkpoint.check_sha256(checkpoint, None),
            "source": "https://github.com/kakaobrain/cxr-clip",
            "licence": "CC BY-NC-SA 4.0 by its LICENSE file, CC BY-NC 4.0 by its README",
            "variant": variant,
            "tokenizer_sha256": tokenizer.sha256,
        },
        checkpoint=path,
    )
