"""MedCLIP (Wang et al., 2022): Swin-tiny or ResNet-50 beside Bio_ClinicalBERT.

Source: https://github.com/RyanWangZf/MedCLIP, whose setup.py says BSD while no LICENSE file
is there; no licence is stated for the weights. Weights: ``medclip-vit-pretrained.zip`` (Swin)
and ``medclip-pretrained.zip`` (ResNet) under https://storage.googleapis.com/pytrial/; each
holds a ``pytorch_model.bin``.

Citation: Z. Wang, Z. Wu, D. Agarwal, J. Sun. MedCLIP: Contrastive Learning from Unpaired
Medical Images and Text. EMNLP 2022.

Text: the impression, 77 tokens. **The model was trained on single lower-cased sentences: a
whole report is off its distribution**, and what it scores there is no measure of what it can
do with a sentence.

Upstream averages a text's features over its padding too, so that there an embedding depends
on the longest text of its batch. Here the padding is left out, which equals upstream given
one text at a time; ``padding="upstream"`` brings the dependence back, to repeat old figures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, SwinConfig

from models import _bert, _checkpoint, _vision
from models._bert import EMBEDDING_DIM, Network, Tokenizer
from models._checkpoint import Checkpoint
from models._encoder import TwoTowers
from models._preprocessing import BlackSquare, Preprocessing
from models._vision import PIXELS, VARIANTS, Shapes, published_shapes
from robustness.encoder import TextPolicy

MAX_TOKENS = 77
"""How many tokens of a text are read, [CLS] and [SEP] included."""

PADDINGS = ("masked", "upstream")
"""Whether a text's padding is left out of its average, or counted as upstream does."""

_FILES = {"swin": "medclip-vit-pretrained.zip", "resnet": "medclip-pretrained.zip"}
_WHERE = (
    "https://storage.googleapis.com/pytrial/ (licence: BSD by the code's setup.py, none stated"
    " for the weights)"
)
_OPTIONS = ("tokenizer", "variant", "padding")
_PREFIXES = {"swin": "vision_model.model.encoder.", "resnet": "vision_model.model.layer1."}
_MEAN, _STD = 0.5862785803043838, 0.27950088968644304
_PREPROCESSING = Preprocessing(BlackSquare(PIXELS, "bicubic"), (_MEAN,) * 3, (_STD,) * 3)
_SCHEMA = f"medclip-1 pad {PIXELS} bicubic {_MEAN} {_STD} hidden 1 2 -1 lower-cased"
_NAME = "models.medclip:load"


class MedClipNetwork(Network):
    """MedCLIP's towers under its published keys; see :class:`~models._bert.Network`.

    Args:
        bert: The text tower's shape.
        swin: The image tower's shape; None for the ResNet-50.
        masked: Whether padding is left out of a text's average.
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
        """The mean of Swin's normed tokens, projected; or ResNet's pool, projected."""
        features = self.vision_model["model"](pixels)
        if "projection_head" in self.vision_model:
            features = self.vision_model["projection_head"](features.pooler_output)
        return torch.as_tensor(features)

    def text_features(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Hidden states 1, 2 and -1, averaged over every token and each other, projected."""
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
    """Loads MedCLIP; which image tower it has is read off the checkpoint.

    Args:
        weights: The published zip or the ``pytorch_model.bin`` in it; None to look for the
            zip, Swin before ResNet, in the folder that ROBUSTNESS_WEIGHTS names.
        device: A torch device such as ``cpu`` or ``cuda:0``.
        tokenizer: Bio_ClinicalBERT's vocabulary file or a directory with it; None for the hub.
        variant: ``swin`` or ``resnet``, where a checkpoint of the other is to be refused.
        padding: ``masked``, or ``upstream`` to average over a batch's padding as upstream does.
        **unknown: There are no further options.

    Raises:
        UsageError: An option or its value is unknown.
        WeightsNotFoundError: The weights or the vocabulary are not there.
        WeightsError: They are not this model's, or damaged.
    """
    _bert.refuse_unknown(_NAME, unknown, _OPTIONS)
    _bert.choose(_NAME, "padding", padding, PADDINGS)
    if variant is not None:
        _bert.choose(_NAME, "variant", variant, VARIANTS)
    filenames = [_FILES[name] for name in VARIANTS if variant in {None, name}]
    path = _checkpoint.find("MedCLIP", weights, filenames, _WHERE)
    shapes = published_shapes()
    words = _bert.load_tokenizer(tokenizer, shapes.bert.vocab_size, MAX_TOKENS)
    checkpoint = _checkpoint.read(path)
    found = _vision.recognise(checkpoint.state, _PREFIXES, path, variant)
    return build(checkpoint, words, shapes, found, device, padding=padding)


def build(
    checkpoint: Checkpoint,
    tokenizer: Tokenizer,
    shapes: Shapes,
    variant: str,
    device: str = "cpu",
    *,
    padding: str = "masked",
) -> TwoTowers:
    """Puts a checkpoint into towers of the given shapes; :func:`load` gives the published ones.

    Raises:
        WeightsError: The checkpoint does not fit.
    """
    # The towers start from random weights: loading must not advance the caller's numbers.
    with torch.random.fork_rng(devices=[]):
        network = MedClipNetwork(
            shapes.bert, shapes.swin if variant == "swin" else None, masked=padding == "masked"
        )
    path = checkpoint.path
    state = _checkpoint.rename(checkpoint.state, _vision.SWIN_RENAMES, path=path)
    _checkpoint.load_strictly(
        network, state, path=path, tolerated=(*_bert.TOLERATED, *_vision.SWIN_TOLERATED)
    )
    return TwoTowers(
        "MedCLIP",
        network,
        pixels=_PREPROCESSING,
        images=MedClipNetwork.image_features,
        texts=lambda network, texts: network.text_features(
            *(part.to(device) for part in tokenizer(texts))
        ),
        embedding_dim=EMBEDDING_DIM,
        fingerprint=_checkpoint.fingerprint(
            _SCHEMA, network.state_dict(), variant, padding, tokenizer.sha256
        ),
        text_policy=TextPolicy(
            sections=("impression",),
            max_tokens=MAX_TOKENS,
            truncation=f"the first {MAX_TOKENS - 1} tokens are kept, then [SEP]",
        ),
        device=device,
        details={
            "weights_sha256": checkpoint.sha256,
            "weights_file": path.name,
            "sha256_matches_published": _checkpoint.check_sha256(checkpoint, None),
            "source": "https://github.com/RyanWangZf/MedCLIP",
            "licence": "BSD by the code's setup.py; none stated for the weights",
            "variant": variant,
            "tokenizer_sha256": tokenizer.sha256,
            "padding": padding,
        },
        checkpoint=path,
    )
