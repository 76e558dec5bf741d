"""How often the paired gate fails a run for nothing, and how often it sees a real drop.

A run compares a candidate with a baseline in 32 cases: 2 patterns, 2 fills, 8 levels. The
models are the reference encoder with its embeddings passed through random maps near the
identity, one for the images and one for the texts, the same in all the cases of a run: as
cheap as a matrix product, and a change of a model's last layer as training again makes it.

First candidates as good as their baselines: two models swapped at random in each cluster of
patients (exchangeable, as the test supposes), and pairs of models perturbed alike, which
differ truly, though not in expectation. *True sd* is by how much, without the chance that
lies in the patients; *confirmed* counts the failed pairs that drop beyond the margin among
other patients as well. All pairs of 72 models are not independent: the limit takes them as
if they were. Then candidates whose hit@10 is lower by exactly 1 or 2 points, through noise
on the image embeddings or a map of them, in all the cases or in one drawn at random.

    python benchmarks/false_alarms.py                  # tables in Markdown, a quarter of an hour
    python benchmarks/false_alarms.py --quick          # the same on a toy scale
    python benchmarks/false_alarms.py --folder KEPT    # embeds once, later runs reuse it
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from releases import (
    ALLOWED,
    PATIENTS,
    POWER_RULES,
    QUICK,
    RULES,
    Sizes,
    Tally,
    fresh,
    pairs,
    power,
    swaps,
)
from simulated import embed

from robustness.thresholds import ALPHA, MARGIN

Submit = Callable[..., Future[Any]]

SCALES = (0.05, 0.1, 0.14, 0.2)
"""The standard deviation of what a map adds to the identity's entries is 1/8 of these."""


def header(names: Sequence[str]) -> str:
    return "| " + " | ".join(names) + " |\n|" + "---|" * len(names)


def row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def false_alarms(submit: Submit, sizes: Sizes) -> None:
    parts = sizes.population // sizes.few
    waiting: list[tuple[str, int, list[Future[Tally]]]] = []
    for scale in SCALES:
        jobs = [submit(swaps, scale, i % parts) for i in range(6)]
        waiting.append((f"swaps of two models, maps {scale:g}", sizes.few, jobs))
    for scale in SCALES:
        seed = round(1000 * scale)
        # The same models meet every block: their maps come from the same seed.
        jobs = [submit(pairs, scale, i, seed=seed) for i in range(parts)]
        waiting.append((f"pairs of {sizes.models} models, maps {scale:g}", sizes.few, jobs))
    for scale, half in ((SCALES[1], True), (SCALES[1], False)):
        name = f"fp16 of a new model, maps {scale:g}" if half else f"two new models, maps {scale:g}"
        jobs = [submit(fresh, scale, half=half) for _ in range(10)]
        waiting.append((name, sizes.fresh, jobs))
    names = ["releases", "mean drop", "worst case", "true sd", "failed", "share", "upper 95 %"]
    print(header(["candidate beside baseline", "n", *names, "confirmed", *RULES[1:]]))
    for label, n, jobs in waiting:
        total = sum((job.result() for job in jobs), Tally())
        print(row([label, str(n), *total.cells()]), flush=True)


def powers(submit: Submit, sizes: Sizes) -> None:
    waiting = [
        (kind, n, target, [submit(power, n, target, kind) for _ in range(2)])
        for n, target in ((sizes.few, 0.02), (sizes.many, 0.01))
        for kind in ("noise", "map")
    ]
    print(header(["real drop", "n", "where", "runs", *POWER_RULES, "tuned to"]))
    for kind, n, target, jobs in waiting:
        found = [job.result() for job in jobs]
        runs = sum(int(one["runs"]) for one in found)
        fails = sum(one["fails"] for one in found) / runs
        reached = np.concatenate([one["drop"] for one in found])
        tuned = f"{np.mean([one['tuned'] for one in found]):.2f}"
        for where, shares in zip(("all 32 cases", "1 of 32"), fails, strict=True):
            label = f"{100 * target:.0f} ({reached.min():.2f} to {reached.max():.2f}), {kind}"
            cells = [label, str(n), where, str(runs), *(f"{x:.3f}" for x in shares), tuned]
            print(row(cells), flush=True)


def start(sizes: Sizes, folder: Path) -> None:
    torch.set_num_threads(1)
    PATIENTS.append(embed(sizes.population, sizes.levels, folder))


def call(work: Callable[..., Any], seed: int, sizes: Sizes, *args: Any, **more: Any) -> Any:
    return work(np.random.default_rng(seed), sizes, *args, **more)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a toy scale, in seconds")
    parser.add_argument("--folder", type=Path, help="where embeddings are kept (default: nowhere)")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args(arguments)
    sizes = QUICK if given.quick else Sizes()
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        patients = embed(sizes.population, sizes.levels, folder)
        reach = [(r <= 10) @ patients.share for r in patients.ranks()]
        print(
            f"{len(patients)} phantoms, {len(patients.reports)} texts,"
            f" {len(patients.case_of)} cases: hit@10 {min(reach):.2f} to {max(reach):.2f};"
            f" embedded in {time.perf_counter() - began:.0f} s; drops in points of hit@10"
        )
        print(
            f"gate: level {ALPHA:g}, margin {100 * MARGIN:g}, unless it says otherwise;"
            f" McNemar at level {ALLOWED:g}\n"
        )
        pool = stack.enter_context(
            ProcessPoolExecutor(
                given.workers, get_context("spawn"), initializer=start, initargs=(sizes, folder)
            )
        )
        seeds = itertools.count(10_000)

        def submit(work: Any, *args: Any, seed: int | None = None, **more: Any) -> Future[Any]:
            seed = next(seeds) if seed is None else seed
            return pool.submit(call, work, seed, sizes, *args, **more)

        false_alarms(submit, sizes)
        print()
        powers(submit, sizes)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
