"""What it costs to rank N images and N reports in both directions, beside the product alone.

Embeddings are drawn from a seed, unit vectors of 512 numbers. Three ways, each in a process
of its own, in turns:

- ``product``: the N x N scores in tiles, each overwritten by the next; nothing is counted.
  Whoever looks at every score pays at least this.
- ``gate``: ``robustness.ranking.rank_both``.
- ``argsort``: the usual way, the whole matrix sorted by row and by column, and in each order
  the place of the right answer.

The first calls of a process pay for its memory and are not timed: a gate ranks at every level.

Peak memory is what the kernel counts for the process (``ru_maxrss``) beyond what it held with
the embeddings made and a tiny input ranked; on a GPU, what torch had allocated there at most.

    python benchmarks/ranking.py
    python benchmarks/ranking.py --large
    python benchmarks/ranking.py --device cuda --items 1000000
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
from _side_by_side import Figures, alone, in_turns, peak_megabytes, pin, synchronise
from torch import Tensor

ITEMS, LARGE, WIDTH = 10_000, 100_000, 512
SORTED_UP_TO = 20_000
"""Beyond so many items the full matrix and its order do not fit."""
TILE = 1024
NOISE = 6.0
"""How much longer what a report does not share with its image is than what it does."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--large", action="store_true", help=f"the same as --items {LARGE}")
    parser.add_argument("--runs", type=int, help="(default: 5; 1 of many items)")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", choices=list(WAYS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    items = LARGE if given.large else given.items
    if given.one:
        print(json.dumps(run_here(given.one, items, given.device, given.cores)))
        return
    pin(given.cores)
    runs = given.runs or (5 if items <= SORTED_UP_TO else 1)
    compare(items, runs, given.device, given.cores)


# --- the ways ------------------------------------------------------------------------------


def product(images: Tensor, reports: Tensor) -> float:
    side = TILE if images.device.type == "cpu" else 16 * TILE
    tile = torch.empty(side, side, device=images.device)
    for row in range(0, len(images), side):
        for column in range(0, len(reports), side):
            a, b = images[row : row + side], reports[column : column + side]
            torch.mm(a, b.T, out=tile[: len(a), : len(b)])
    return float(tile[0, 0])


def by_gate(images: Tensor, reports: Tensor) -> float:
    import numpy as np

    from robustness.ranking import rank_both

    right = np.arange(len(images))
    both = rank_both(images, reports, right, right)
    return sum(float((counts.greater < 1).mean()) for counts in both)


def by_argsort(images: Tensor, reports: Tensor) -> float:
    scores = images @ reports.T
    right = torch.arange(len(images), device=images.device)
    found = 0.0
    for matrix in (scores, scores.T):
        place = (matrix.argsort(dim=1, descending=True) == right[:, None]).nonzero()[:, 1]
        found += float((place < 1).float().mean())
    return found


WAYS = {"product": product, "gate": by_gate, "argsort": by_argsort}


def embeddings(items: int, device: str) -> tuple[Tensor, Tensor]:
    """Images, and reports of which half find their image first among 10,000; made in place."""
    generator = torch.Generator(device).manual_seed(0)
    images = torch.randn(items, WIDTH, generator=generator, device=device)
    images /= images.norm(dim=1, keepdim=True)
    reports = torch.randn(items, WIDTH, generator=generator, device=device)
    reports *= NOISE * WIDTH**-0.5
    reports += images
    reports /= reports.norm(dim=1, keepdim=True)
    return images, reports


def run_here(way: str, items: int, device: str, cores: int) -> Figures:
    torch.set_num_threads(cores)
    torch.set_float32_matmul_precision("highest")
    few = embeddings(256, device)
    WAYS[way](*few)
    images, reports = embeddings(items, device)
    before = peak_megabytes()
    timed = []
    calls = 2 if way == "argsort" else 7
    for _ in range(calls if items <= SORTED_UP_TO else 1):
        synchronise(device)
        started = time.perf_counter()
        found = WAYS[way](images, reports)
        synchronise(device)
        timed.append(time.perf_counter() - started)
    seconds = statistics.median(timed[len(timed) // 3 :])
    peak = peak_megabytes()
    figures = {"seconds": seconds, "beyond MB": peak - before, "in all MB": peak, "found": found}
    if device.startswith("cuda"):
        figures["device MB"] = torch.cuda.max_memory_allocated(device) / 1e6
    return figures


# --- the table -----------------------------------------------------------------------------


def compare(items: int, runs: int, device: str, cores: int) -> None:
    def measure(way: str) -> Figures:
        options = ["--items", items, "--device", device, "--cores", cores]
        return alone(__file__, "--one", way, *options)

    ways = [way for way in WAYS if way != "argsort" or items <= SORTED_UP_TO]
    found = in_turns(ways, runs, measure)
    if "argsort" in found:
        # Both are to find the same right answers first, or they did not do the same work.
        assert abs(found["gate"]["found"] - found["argsort"]["found"]) <= 4 / items
    print(f"\n{items} x {items} x {WIDTH}, both directions, {device}, {cores} threads,", end=" ")
    print(f"medians of {runs} runs each\n")
    names = [name for name in found["gate"] if name != "found"]
    print(f"{'':10}" + "".join(f"{name:>12}" for name in names))
    for way, figures in found.items():
        print(f"{way:10}" + "".join(f"{figures[name]:12.2f}" for name in names))
    seconds = {way: figures["seconds"] for way, figures in found.items()}
    gate, bound = seconds["gate"], seconds["product"]
    rate = 2 * items**2 * WIDTH / bound / 1e9
    print(
        f"\ngate / product: {gate / bound:.2f}, {bound / gate:.0%} of the product's bound", end=""
    )
    print(f" ({rate:.0f} GFLOP/s)")
    if "argsort" in seconds:
        print(f"argsort / gate: {seconds['argsort'] / gate:.1f}")


if __name__ == "__main__":
    main()
