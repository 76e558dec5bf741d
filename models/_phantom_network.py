"""Preprocessing, vocabulary and towers of the reference encoder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

EMBEDDING_DIM = 192
MAX_TOKENS = 160
TOKEN = re.compile(r"[a-z]+|[0-9]+|[.:,]")

PIXELS = 112
"""Height and width of the encoder's input."""

MEAN, DEVIATION = 0.45, 0.25
"""Mean and standard deviation of brightness, for the normalisation."""

_PAD, _UNKNOWN, _RESERVED = 0, 1, 2


def shrink(images: Tensor) -> Tensor:
    """Pad images to a black square, average by area to 112 x 112, and normalise.

    The sums are exact sums of integers, whatever the size and the order of addition. So the
    pixels of an image do not depend on its batch.

    Args:
        images: Grey levels ``[B, height, width]``, integers from 0 to 255 in any dtype.

    Returns:
        float32 ``[B, 112, 112]``.
    """
    side = max(images.shape[1:])
    down = _sums(images.float(), side)
    transposed = down.transpose(1, 2).to(torch.float64, memory_format=torch.contiguous_format)
    across = _sums(transposed, side).transpose(1, 2)
    return ((across / (255.0 * side * side) - MEAN) / DEVIATION).float()


def _sums(lines: Tensor, side: int) -> Tensor:
    """Sum lines per output cell: ``[B, lines, width]`` to ``[B, 112, width]``."""
    images, length, width = lines.shape
    which, overlap, starts = (part.to(lines.device) for part in _cells(side, length))
    image = torch.arange(images, device=lines.device)[:, None]
    sums = F.embedding_bag(
        (which + image * length).flatten(),
        lines.reshape(-1, width),
        (starts + image * len(which)).flatten(),
        mode="sum",
        per_sample_weights=overlap.to(lines.dtype).repeat(images),
    )
    return sums.view(images, PIXELS, width)


@lru_cache(maxsize=64)
def _cells(side: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pixels that overlap each output cell, cell by cell.

    The side of the square has ``112 * side`` units. A pixel is 112 units long, a cell ``side``
    units.

    Returns:
        The pixels, int64 ``[P]``; their overlap with the cell in units, float32 ``[P]``; and
        the index of the first pixel of each cell, int64 ``[112]``.
    """
    start = (side - length) // 2
    pixel = (torch.arange(length) + start) * PIXELS
    cell = torch.arange(PIXELS)[:, None] * side
    ends = torch.minimum(pixel + PIXELS, cell + side)
    overlap = (ends - torch.maximum(pixel, cell)).clamp(min=0)
    under, which = overlap.nonzero(as_tuple=True)
    counts = torch.bincount(under, minlength=PIXELS)
    return which, overlap[under, which].float(), counts.cumsum(0) - counts


class Vocabulary:
    """Words and their token ids; 0 is padding, 1 is any unknown word."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._ids = {word: index for index, word in enumerate(self.words, start=_RESERVED)}

    @classmethod
    def of(cls, texts: Sequence[str]) -> Vocabulary:
        """Create the vocabulary of texts, in alphabetical order."""
        return cls(sorted({word for text in texts for word in TOKEN.findall(text.lower())}))

    def __len__(self) -> int:
        """Return the number of token ids, the reserved ones included."""
        return len(self.words) + _RESERVED

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return token ids, int64 ``[B, T]``, padded with 0 to the longest text, T at least 1.

        Example:
            >>> Vocabulary(["clear", "lungs"]).encode(["Lungs clear.", ""])
            tensor([[3, 2, 1],
                    [0, 0, 0]])
        """
        rows = [
            [self._ids.get(word, _UNKNOWN) for word in TOKEN.findall(text.lower())[:MAX_TOKENS]]
            for text in texts
        ]
        ids = torch.zeros(len(rows), max([1, *map(len, rows)]), dtype=torch.int64)
        for row, tokens in zip(ids, rows, strict=True):
            row[: len(tokens)] = torch.tensor(tokens, dtype=torch.int64)
        return ids


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, size, stride, padding=(size - 1) // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels, 3, 1)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)), inplace=True)


class ImageTower(nn.Module):
    """Image tower: float32 ``[B, 1, 112, 112]`` to ``[B, D]``."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            _convolution(1, 32, 6, 4),
            _Residual(32),
            _convolution(32, 64, 3, 2),
            _Residual(64),
            _convolution(64, 128, 3, 2),
            _Residual(128),
        )
        self.places = _convolution(128, 24, 1, 1)
        self.head = nn.Linear(24 * 49 + 128, EMBEDDING_DIM)

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed images; not normalised."""
        features = self.stages(pixels)
        # The 7 x 7 map keeps the position of a finding (side, zone), the mean its size.
        flat = self.places(features).flatten(1)
        head: Tensor = self.head(torch.cat([flat, features.mean((2, 3))], 1))
        return head


class TextTower(nn.Module):
    """Text tower: token ids ``[B, T]`` to float32 ``[B, D]``."""

    def __init__(self, tokens: int, width: int = 128) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width, padding_idx=_PAD)
        self.first = nn.Conv1d(width, width, 5, padding=2, groups=2)
        self.second = nn.Conv1d(width, width, 5, padding=2, groups=2)
        self.head = nn.Sequential(
            nn.LayerNorm(2 * width),
            nn.Linear(2 * width, 256),
            nn.GELU(),
            nn.Linear(256, EMBEDDING_DIM),
        )

    def forward(self, ids: Tensor) -> Tensor:
        """Embed texts; not normalised."""
        # The mask keeps positions after the text at zero, padded or not. Otherwise the longest
        # text of a batch would change the other embeddings.
        mask = (ids != _PAD).unsqueeze(1).float()
        x = self.embedding(ids).transpose(1, 2) * mask
        x = (x + F.relu(self.first(x))) * mask
        x = F.relu(self.second(x)) * mask
        head: Tensor = self.head(torch.cat([x.sum(2) / 8, x.amax(2)], 1))
        return head


class Network(nn.Module):
    """Both towers; the content of the weights file."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.image = ImageTower()
        self.text = TextTower(tokens)

    def fused(self) -> Network:
        """Return a copy for inference, each batch norm fused into the convolution before it."""
        network = deepcopy(self).eval()
        for layers in network.image.modules():
            if isinstance(layers, nn.Sequential):
                convolution, norm = layers[:2]
                if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    layers[0], layers[1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
        network.image.to(memory_format=torch.channels_last)
        return network

    def stored(self) -> dict[str, Tensor]:
        """Return the tensors of the weights file: all except the counters of the batch norms."""
        state = self.state_dict()
        return {name: state[name] for name in state if not name.endswith("num_batches_tracked")}
