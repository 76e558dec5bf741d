"""False alarm rate and power of the paired comparison with a baseline.

A run compares a candidate with a baseline in 32 cases: 2 patterns, 2 fills, 8 levels. The models
are the reference encoder with its embeddings passed through random maps near the identity, one for
images and one for texts, the same in all cases of a run. They cost only a matrix product, and
resemble the change of a last layer that is trained again.

The first table has candidates that are as good as their baselines: two models swapped at random in
each cluster of patients (exchangeable, as the test assumes), and pairs of models perturbed alike,
which truly differ, but not in expectation. *True sd* is the standard deviation of that difference,
without the sampling error of the patients. *Confirmed* counts the failed pairs that drop by more
than the margin on other patients too. The upper limit treats all pairs of 72 models as independent,
which they are not. The second table has candidates whose hit@10 is lower by exactly 1 or 2 points,
through noise on the image embeddings or a map of them, in all cases or in a random one.

    python benchmarks/false_alarms.py                  # tables in Markdown, about 15 minutes
    python benchmarks/false_alarms.py --quick          # the same on a small scale
    python benchmarks/false_alarms.py --folder DIR     # stores the embeddings for later runs
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
"""Scales of the maps; the entries added to the identity have 1/8 of it as standard deviation."""


def header(names: Sequence[str]) -> str:
    return "| " + " | ".join(names) + " |\n|" + "---|" * len(names)


def row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def false_alarms(submit: Submit, sizes: Sizes) -> None:
    parts = sizes.population // sizes.few
    pending: list[tuple[str, int, list[Future[Tally]]]] = []
    for scale in SCALES:
        jobs = [submit(swaps, scale, i % parts) for i in range(6)]
        pending.append((f"swaps of two models, maps {scale:g}", sizes.few, jobs))
    for scale in SCALES:
        seed = round(1000 * scale)
        # The same seed for every block, so that every block has the same models.
        jobs = [submit(pairs, scale, i, seed=seed) for i in range(parts)]
        pending.append((f"pairs of {sizes.models} models, maps {scale:g}", sizes.few, jobs))
    for scale, half in ((SCALES[1], True), (SCALES[1], False)):
        name = f"fp16 of a new model, maps {scale:g}" if half else f"two new models, maps {scale:g}"
        jobs = [submit(fresh, scale, half=half) for _ in range(10)]
        pending.append((name, sizes.fresh, jobs))
    names = ["releases", "mean drop", "worst case", "true sd", "failed", "share", "upper 95 %"]
    print(header(["candidate and baseline", "n", *names, "confirmed", *RULES[1:]]))
    for label, n, jobs in pending:
        total = sum((job.result() for job in jobs), Tally())
        print(row([label, str(n), *total.cells()]), flush=True)


def powers(submit: Submit, sizes: Sizes) -> None:
    pending = [
        (kind, n, target, [submit(power, n, target, kind) for _ in range(2)])
        for n, target in ((sizes.few, 0.02), (sizes.many, 0.01))
        for kind in ("noise", "map")
    ]
    print(header(["true drop", "n", "affected", "runs", *POWER_RULES, "tuned to"]))
    for kind, n, target, jobs in pending:
        results = [job.result() for job in jobs]
        runs = sum(int(result["runs"]) for result in results)
        fails = sum(result["fails"] for result in results) / runs
        reached = np.concatenate([result["drop"] for result in results])
        tuned = f"{np.mean([result['tuned'] for result in results]):.2f}"
        for affected, shares in zip(("all 32 cases", "1 of 32"), fails, strict=True):
            label = f"{100 * target:.0f} ({reached.min():.2f} to {reached.max():.2f}), {kind}"
            cells = [label, str(n), affected, str(runs), *(f"{x:.3f}" for x in shares), tuned]
            print(row(cells), flush=True)


def start(sizes: Sizes, folder: Path) -> None:
    torch.set_num_threads(1)
    PATIENTS.append(embed(sizes.population, sizes.levels, folder))


def call(work: Callable[..., Any], seed: int, sizes: Sizes, *args: Any, **more: Any) -> Any:
    return work(np.random.default_rng(seed), sizes, *args, **more)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small scale, in seconds")
    parser.add_argument(
        "--folder", type=Path, help="folder of stored embeddings (default: a temporary one)"
    )
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    sizes = QUICK if options.quick else Sizes()
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        patients = embed(sizes.population, sizes.levels, folder)
        hit_rates = [(r <= 10) @ patients.share for r in patients.ranks()]
        print(
            f"{len(patients)} phantoms, {len(patients.reports)} texts,"
            f" {len(patients.case_of)} cases: hit@10 {min(hit_rates):.2f} to {max(hit_rates):.2f};"
            f" embedded in {time.perf_counter() - started:.0f} s; drops in points of hit@10"
        )
        print(
            f"gate: level {ALPHA:g}, margin {100 * MARGIN:g}, unless stated otherwise;"
            f" McNemar at level {ALLOWED:g}\n"
        )
        pool = stack.enter_context(
            ProcessPoolExecutor(
                options.workers, get_context("spawn"), initializer=start, initargs=(sizes, folder)
            )
        )
        seeds = itertools.count(10_000)

        def submit(work: Any, *args: Any, seed: int | None = None, **more: Any) -> Future[Any]:
            seed = next(seeds) if seed is None else seed
            return pool.submit(call, work, seed, sizes, *args, **more)

        false_alarms(submit, sizes)
        print()
        powers(submit, sizes)
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
