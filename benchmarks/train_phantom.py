"""Training of the reference encoder: ``python benchmarks/train_phantom.py``.

Training studies use separate random streams, so no evaluation study is trained on. In part of
the images, a box or cells of a grid are hidden in black, grey or another shade: without this
augmentation, the metrics drop sharply at the lowest occlusion level. The number of steps is
fixed, so the same machine and thread count give the same file. Training takes about ten
minutes on two cores, and 4 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from robustness.evalset.phantom import Purpose, Study, labels
from robustness.models._phantom_network import (
    EMBEDDING_DIM,
    PIXELS,
    Network,
    Vocabulary,
    shrink,
)
from robustness.models.phantom import VOCABULARY_KEY, WEIGHTS

logger = logging.getLogger(__name__)

STUDIES = 20_000
STEPS = 1_100
BATCH = 128
PROCESSES = 2
PEAK_RATE = 2e-3
WARMUP_STEPS = 100
WEIGHT_DECAY = 0.05
HINT_WEIGHT = 5.0
OCCLUDED_SHARE = 0.6
MAX_OCCLUDED = 0.75
GRID = 16
_MAX_TEMPERATURE = 60.0
_LOG_EVERY = 25


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Training pairs, in memory.

    Attributes:
        pixels: float32 ``[N, 112, 112]``, preprocessed.
        texts: The N reports.
        labels: float32 ``[N, L]``, the findings of each study.
    """

    pixels: Tensor
    texts: list[str]
    labels: Tensor


def generate(seed: int, studies: int) -> TrainingSet:
    """Generate the training studies, in several processes."""
    # A forked child of a process with threads may hang.
    with get_context("spawn").Pool(PROCESSES) as pool:
        tasks = [(seed, index) for index in range(studies)]
        rows = pool.starmap(_row, tasks, chunksize=64)
    images, texts, vectors = zip(*rows, strict=True)
    pixels = torch.cat(
        [
            shrink(torch.from_numpy(np.stack(images[first : first + 500])))
            for first in range(0, studies, 500)
        ]
    )
    return TrainingSet(pixels, list(texts), torch.from_numpy(np.stack(vectors)))


def _row(seed: int, index: int) -> tuple[NDArray[np.uint8], str, NDArray[np.float32]]:
    study = Study(seed, index, Purpose.TRAINING)
    text = study.report().text(("findings", "impression"))
    return study.image(), text, labels(study.findings)


def occlude(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Hide part of some images: a box or cells of a grid, with random area and shade.

    Args:
        pixels: float32 ``[B, 1, 112, 112]``.
        generator: The random generator.

    Returns:
        A copy of the pixels.
    """
    batch = len(pixels)
    uniform = torch.rand(batch, 4, generator=generator)
    level = (MAX_OCCLUDED * uniform[:, 0]) * (uniform[:, 1] < OCCLUDED_SHARE)
    boxes = _boxes(level, generator)
    cells = torch.rand(batch, GRID, GRID, generator=generator) < level[:, None, None]
    grid = cells.repeat_interleave(PIXELS // GRID, 1).repeat_interleave(PIXELS // GRID, 2)
    hidden = torch.where((uniform[:, 2] < 0.5)[:, None, None], boxes, grid)
    black, grey = shrink(torch.tensor([0, 128], dtype=torch.uint8).view(2, 1, 1))[:, 0, 0]
    other = black + (2 * (grey - black)) * torch.rand(batch, generator=generator)
    kind = uniform[:, 3]
    shade = torch.where(kind < 0.4, black, torch.where(kind < 0.8, grey, other))
    return torch.where(hidden[:, None], shade[:, None, None, None], pixels)


def _boxes(level: Tensor, generator: torch.Generator) -> Tensor:
    """Return one box per image with the area ``level``, bool ``[B, 112, 112]``."""
    stretch = torch.exp(0.3 * torch.randn(len(level), generator=generator))
    height = (level.sqrt() * stretch).clamp(min=level, max=torch.ones_like(level)) * PIXELS
    width = level * PIXELS**2 / height.clamp(min=1e-6)
    centre = torch.arange(PIXELS) + 0.5
    inside = []
    for length in (height, width):
        start = torch.rand(len(level), generator=generator) * (PIXELS - length)
        inside.append((centre >= start[:, None]) & (centre < (start + length)[:, None]))
    return inside[0][:, :, None] & inside[1][:, None, :]


def disturb(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Shift, brighten and occlude a batch ``[B, 1, 112, 112]``."""
    down, right = torch.randint(-3, 4, (2,), generator=generator).tolist()
    moved = torch.roll(pixels, (down, right), (2, 3))
    gain, offset = torch.randn(2, len(pixels), 1, 1, 1, generator=generator)
    return occlude(moved * (1 + 0.06 * gain) + 0.08 * offset, generator)


def contrast(images: Tensor, texts: Tensor, ids: Tensor, heat: Tensor) -> Tensor:
    """Compute the symmetric InfoNCE loss; duplicate texts are not negatives of each other."""
    scores = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T * heat
    same = (ids[:, None] == ids[None]).all(2)
    same.fill_diagonal_(fill_value=False)
    scores = scores.masked_fill(same, float("-inf"))
    target = torch.arange(len(scores))
    return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2


def _batches(count: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    done = 0
    while True:
        for batch in torch.split(torch.randperm(count, generator=generator), BATCH):
            if len(batch) < BATCH:
                continue
            if done == steps:
                return
            done += 1
            yield batch


def train(data: TrainingSet, steps: int, seed: int) -> tuple[Network, Vocabulary]:
    """Train both towers, with classification of the findings as an auxiliary loss."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    vocabulary = Vocabulary.of(data.texts)
    ids = vocabulary.encode(data.texts)
    network = Network(len(vocabulary)).to(memory_format=torch.channels_last)
    hints = nn.ModuleList(nn.Linear(EMBEDDING_DIM, data.labels.shape[1]) for _ in range(2))
    heat = nn.Parameter(torch.tensor(math.log(14.0)))
    parameters = [*network.parameters(), *hints.parameters(), heat]
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
    )
    started = time.monotonic()
    network.train()
    for step, batch in enumerate(_batches(len(ids), steps, generator), start=1):
        for group in optimiser.param_groups:
            group["lr"] = _rate(step, steps)
        pixels = disturb(data.pixels[batch].unsqueeze(1), generator)
        images = network.image(pixels.contiguous(memory_format=torch.channels_last))
        texts = network.text(ids[batch])
        retrieval = contrast(images, texts, ids[batch], heat.exp().clamp(max=_MAX_TEMPERATURE))
        hint = sum(
            F.binary_cross_entropy_with_logits(guess(embedding), data.labels[batch])
            for guess, embedding in zip(hints, (images, texts), strict=True)
        )
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(retrieval + HINT_WEIGHT * hint)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        if step % _LOG_EVERY == 0 or step == steps:
            logger.info(
                "step %d of %d, loss %.3f, %.0f s",
                step,
                steps,
                retrieval.item(),
                time.monotonic() - started,
            )
    return network.eval(), vocabulary


def _rate(step: int, steps: int) -> float:
    warm = min(1.0, step / WARMUP_STEPS)
    return PEAK_RATE * warm * (0.5 * (1 + math.cos(math.pi * step / steps)) + 0.005)


def save(network: Network, vocabulary: Vocabulary, path: Path) -> None:
    """Write the weights in half precision, and the vocabulary, to a safetensors file."""
    tensors = {name: tensor.half().contiguous() for name, tensor in network.stored().items()}
    save_file(tensors, path, metadata={VOCABULARY_KEY: json.dumps(vocabulary.words)})


def main() -> None:
    """Generate the training studies, train, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=WEIGHTS, help="output file (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", type=int, default=STEPS, help="number of training batches (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of the studies and the weights (default: %(default)s)",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(PROCESSES)
    logger.info("drawing %d studies", STUDIES)
    data = generate(arguments.seed, STUDIES)
    network, vocabulary = train(data, arguments.steps, arguments.seed)
    save(network, vocabulary, arguments.out)
    logger.info("wrote %s, %d bytes", arguments.out, arguments.out.stat().st_size)


if __name__ == "__main__":
    main()
