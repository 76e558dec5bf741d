"""What CLIP and the models fine-tuned from it share: open_clip's towers and tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from torch import Tensor

from models import _checkpoint
from models._pixels import Grey
from models._preprocessing import Preprocessing, Size
from robustness.encoder import DualEncoder, TextPolicy
from robustness.errors import UsageError

if TYPE_CHECKING:
    import open_clip

ARCHITECTURE = "ViT-B-32-quickgelu"
"""open_clip's name of ViT-B/32 with OpenAI's activation; plain ``ViT-B-32`` is another."""

TOLERATED = ("input_resolution", "context_length", "vocab_size")
"""Entries of OpenAI's archives that describe the model and are no weights."""

_SCHEMA = "clip-1"


@dataclass(frozen=True, slots=True)
class Shaping:
    """How a model turns radiographs into pixels.

    Attributes:
        preprocessing: From the model's side to its preprocessing.
        text: Every value that shapes the pixels, for the fingerprint.
    """

    preprocessing: Callable[[int], Preprocessing]
    text: str


class ClipEncoder(DualEncoder):
    """A CLIP model with its weights loaded; see :class:`~robustness.encoder.DualEncoder`.

    Args:
        model: open_clip's model, in float32, on the host.
        preprocessing: How radiographs become pixels of the model's side.
        fingerprint: The hash of the weights and of everything else that shapes an embedding.
        text_policy: Which text of a report the model reads.
        device: Where the model runs.
        details: Facts for the result.
    """

    on_device = True

    def __init__(
        self,
        model: open_clip.CLIP,
        preprocessing: Preprocessing,
        *,
        fingerprint: str,
        text_policy: TextPolicy,
        device: str,
        details: dict[str, str],
    ) -> None:
        from open_clip import SimpleTokenizer

        self._model = model.eval().requires_grad_(False).to(device)  # noqa: FBT003
        self._preprocessing = preprocessing
        self._tokenize = SimpleTokenizer(context_length=text_policy.max_tokens)
        self.fingerprint = fingerprint
        self.text_policy = text_policy
        self.embedding_dim = model.text_projection.shape[1]
        self.device = device
        self.details = details

    def preprocess(self, images: Sequence[Grey]) -> Tensor:
        """Turns radiographs into pixels as the model was trained on.

        Args:
            images: uint8 ``[height, width]`` each, 0 black; sizes may differ.

        Returns:
            float32 ``[B, 3, 224, 224]`` on the model's device.

        Raises:
            ValueError: An image is not uint8, not two-dimensional, or empty.
        """
        return self._preprocessing.host(images).to(self.device)

    def preprocess_on_device(self, images: Tensor, sizes: Sequence[Size]) -> Tensor:
        """The same where the images lie; see :class:`~robustness.encoder.DualEncoder`."""
        return self._preprocessing.device(images, sizes)

    @torch.inference_mode()
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Embeds preprocessed images: float32 ``[B, 512]``, rows of unit L2 norm."""
        if not len(pixels):
            return torch.empty(0, self.embedding_dim, device=self.device)
        return F.normalize(self._model.encode_image(pixels.to(self.device)), dim=1)

    @torch.inference_mode()
    def encode_reports(self, texts: Sequence[str]) -> Tensor:
        """Embeds report texts: float32 ``[B, 512]``, rows of unit L2 norm; a text may be empty."""
        if not texts:
            return torch.empty(0, self.embedding_dim, device=self.device)
        tokens = self._tokenize(list(texts)).to(self.device)
        return F.normalize(self._model.encode_text(tokens), dim=1)


def architecture(options: Mapping[str, Any], allowed: Sequence[str], loader: str) -> str:
    """Checks a loader's options and returns the one that names open_clip's architecture.

    Args:
        options: The options as they were given.
        allowed: Those that the loader takes.
        loader: Its importable name, for errors.

    Raises:
        UsageError: An option is unknown, or the architecture is none of OpenAI's form.
    """
    from open_clip import get_model_config

    if unknown := sorted(options.keys() - set(allowed)):
        raise UsageError(
            f"{loader} takes no option {', '.join(map(repr, unknown))};"
            f" it takes {', '.join(allowed)}"
        )
    name = str(options.get("architecture", ARCHITECTURE))
    config = get_model_config(name)
    if config is None:
        raise UsageError(
            f"{loader}: open_clip has no architecture {name!r}; name one of its configurations,"
            f" such as {ARCHITECTURE}"
        )
    if not config.get("quick_gelu"):
        raise UsageError(
            f"{loader}: architecture {name!r} has another activation than OpenAI's weights were"
            f" trained with; name one with quickgelu, such as {ARCHITECTURE}"
        )
    return name


def encoder(  # noqa: PLR0913 - each differs between the models of this form
    path: Path,
    name: str,
    shaping: Shaping,
    *,
    sections: tuple[str, ...],
    device: str,
    details: dict[str, str],
    published_as: tuple[str, str | None],
) -> ClipEncoder:
    """Loads a checkpoint of OpenAI's form: an archive, a state dict, fp16 or not.

    Args:
        path: The checkpoint.
        name: open_clip's name of the architecture.
        shaping: How radiographs become pixels.
        sections: The report sections that the model reads.
        device: A torch device.
        details: Facts for the result, beside those about the file.
        published_as: The published file's name and its SHA-256, where one is known.

    Raises:
        WeightsError: The file is damaged or holds another model.
    """
    from open_clip import CLIP, get_model_config

    checkpoint = _checkpoint.read(path)
    # The towers start from random weights: loading must not advance the caller's numbers.
    with torch.random.fork_rng(devices=[]):
        model = CLIP(**get_model_config(name))
    _checkpoint.load_strictly(model, checkpoint.state, path=path, tolerated=TOLERATED)
    filename, known = published_as
    side = int(model.visual.image_size[0])
    parts = (name, str(side), str(model.context_length), shaping.text)
    encoder = ClipEncoder(
        model,
        shaping.preprocessing(side),
        fingerprint=_checkpoint.fingerprint(_SCHEMA, model.state_dict(), *parts),
        text_policy=TextPolicy(
            sections=sections,
            max_tokens=model.context_length,
            truncation=f"the first {model.context_length - 1} tokens are kept, then the end token",
        ),
        device=device,
        details={
            "weights_sha256": checkpoint.sha256,
            "sha256_matches_published": _checkpoint.check_sha256(checkpoint, known, filename),
            "variant": name,
            **details,
        },
    )
    encoder.checkpoint = path
    return encoder
