"""Cost of ranking N images and N reports in both directions, and of the matrix product alone.

Embeddings are random unit vectors of dimension 512. There are three methods, each in a process of
its own, alternating:

- ``product``: the N x N scores in tiles, each overwritten by the next; nothing is counted. This is
  a lower bound for any method that reads every score.
- ``gate``: ``robustness.ranking.rank_both``.
- ``argsort``: the common method, which sorts the whole matrix by row and by column and looks up the
  rank of the positive.

The first calls of a process allocate memory and are not timed, because a gate ranks at every level.

Peak memory is ``ru_maxrss`` beyond its value with the embeddings made and a tiny input ranked; on a
GPU, the peak that torch allocated.

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
from _side_by_side import Figures, alone, alternate, peak_megabytes, pin, synchronise
from torch import Tensor

ITEMS, LARGE, WIDTH = 10_000, 100_000, 512
MAX_SORTED = 20_000
"""With more items, the full matrix and its order do not fit into memory."""
TILE = 1024
NOISE = 6.0
"""Norm of a report's noise relative to the part that it shares with its image."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--large", action="store_true", help=f"the same as --items {LARGE}")
    parser.add_argument("--runs", type=int, help="(default: 5; 1 for many items)")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", choices=list(METHODS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    items = LARGE if args.large else args.items
    if args.one:
        print(json.dumps(run_here(args.one, items, args.device, args.cores)))
        return
    pin(args.cores)
    runs = args.runs or (5 if items <= MAX_SORTED else 1)
    compare(items, runs, args.device, args.cores)


# --- the methods ------------------------------------------------------------------------------


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

    positives = np.arange(len(images))
    both = rank_both(images, reports, positives, positives)
    return sum(float((counts.greater < 1).mean()) for counts in both)


def by_argsort(images: Tensor, reports: Tensor) -> float:
    scores = images @ reports.T
    positives = torch.arange(len(images), device=images.device)
    first = 0.0
    for matrix in (scores, scores.T):
        ranks = (matrix.argsort(dim=1, descending=True) == positives[:, None]).nonzero()[:, 1]
        first += float((ranks < 1).float().mean())
    return first


METHODS = {"product": product, "gate": by_gate, "argsort": by_argsort}


def embeddings(items: int, device: str) -> tuple[Tensor, Tensor]:
    """Return images and reports; among 10,000, half of the reports find their image first."""
    generator = torch.Generator(device).manual_seed(0)
    images = torch.randn(items, WIDTH, generator=generator, device=device)
    images /= images.norm(dim=1, keepdim=True)
    reports = torch.randn(items, WIDTH, generator=generator, device=device)
    reports *= NOISE * WIDTH**-0.5
    reports += images
    reports /= reports.norm(dim=1, keepdim=True)
    return images, reports


def run_here(method: str, items: int, device: str, cores: int) -> Figures:
    torch.set_num_threads(cores)
    torch.set_float32_matmul_precision("highest")
    few = embeddings(256, device)
    METHODS[method](*few)
    images, reports = embeddings(items, device)
    before = peak_megabytes()
    timed = []
    calls = 2 if method == "argsort" else 7
    for _ in range(calls if items <= MAX_SORTED else 1):
        synchronise(device)
        started = time.perf_counter()
        hits = METHODS[method](images, reports)
        synchronise(device)
        timed.append(time.perf_counter() - started)
    seconds = statistics.median(timed[len(timed) // 3 :])
    peak = peak_megabytes()
    figures = {"seconds": seconds, "beyond MB": peak - before, "in total MB": peak, "hits": hits}
    if device.startswith("cuda"):
        figures["device MB"] = torch.cuda.max_memory_allocated(device) / 1e6
    return figures


# --- the table -----------------------------------------------------------------------------


def compare(items: int, runs: int, device: str, cores: int) -> None:
    def measure(method: str) -> Figures:
        options = ["--items", items, "--device", device, "--cores", cores]
        return alone(__file__, "--one", method, *options)

    methods = [method for method in METHODS if method != "argsort" or items <= MAX_SORTED]
    medians = alternate(methods, runs, measure)
    if "argsort" in medians:
        # Different results would mean that the methods did not do the same work.
        assert abs(medians["gate"]["hits"] - medians["argsort"]["hits"]) <= 4 / items
    print(f"\n{items} x {items} x {WIDTH}, both directions, {device}, {cores} threads,", end=" ")
    print(f"medians of {runs} runs each\n")
    names = [name for name in medians["gate"] if name != "hits"]
    print(f"{'':10}" + "".join(f"{name:>12}" for name in names))
    for method, figures in medians.items():
        print(f"{method:10}" + "".join(f"{figures[name]:12.2f}" for name in names))
    seconds = {method: figures["seconds"] for method, figures in medians.items()}
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
