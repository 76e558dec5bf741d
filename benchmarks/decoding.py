"""Speed of the gate's first decoding of a set, compared with plain Pillow.

Both convert the same JPEGs of 2048 x 2500 to greyscale of at most 1024 pixels, on the same
cores. Pillow opens, drafts, loads, reduces and discards each file in a pool of threads. The gate
hashes every file, decodes it by the rules of ``robustness.evalset``, and writes the cache that
later runs and other processes read. Every run is a process of its own, and the methods alternate.
The start of Python is not timed.

    python benchmarks/decoding.py --images 1000 --runs 5
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT, SIDE = 2048, 2500, 1024
QUALITY = 92
MARGIN = 128
FRACTION = 4
"""Peak memory is also measured with one image in this many."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="working folder (default: a temporary one)")
    parser.add_argument("--one", choices=list(METHODS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(run_here(args.one, args.folder, args.images)))
        return
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        compare(Path(folder), args.images, args.runs)


# --- the two methods --------------------------------------------------------------------------


def by_gate(paths: list[Path], store: Path) -> int:
    from robustness.embedding import Store, decode_once
    from robustness.evalset import EvaluationSet, Pair, Report
    from robustness.evalset._files import FileDecoder, digests

    report = Report(findings="clear")
    pairs = tuple(
        Pair(path.stem, path.stem, path.stem, "PA", report, digest)
        for path, digest in zip(paths, digests(paths, SIDE), strict=True)
    )
    files = {path.stem: path for path in paths}
    evalset = decode_once(EvaluationSet("benchmark", pairs, FileDecoder(files, SIDE)), Store(store))
    return max(evalset.decode(pairs[0]).shape)


def by_pillow(paths: list[Path], _store: Path) -> int:
    def decode(path: Path) -> int:
        with Image.open(path) as image:
            image.draft("L", (SIDE, SIDE))
            image.load()
            image.thumbnail((SIDE, SIDE))
            return max(np.asarray(image).shape)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return max(pool.map(decode, paths))


METHODS = {"Pillow": by_pillow, "gate": by_gate}


def run_here(method: str, folder: Path, images: int) -> dict[str, float]:
    paths = sorted((folder / "images").iterdir())[:images]
    assert len(paths) == images
    # Imports are not timed.
    import robustness.embedding
    import robustness.evalset._files  # noqa: F401

    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    assert METHODS[method](paths, folder / "store") == SIDE
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"rate": images / seconds, "cpu": cpu / images, "peak": after.ru_maxrss / 1024}


def run(method: str, folder: Path, images: int) -> dict[str, float]:
    shutil.rmtree(folder / "store", ignore_errors=True)
    # Pending writes of the last run must not count for this one.
    os.sync()
    command = [sys.executable, __file__, "--one", method, "--folder", folder]
    command += ["--images", str(images)]
    completed = subprocess.run(  # noqa: S603
        command, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(completed.stdout)


# --- images --------------------------------------------------------------------------------


def make_images(folder: Path, images: int) -> float:
    """Write phantoms with film grain, each another crop; return their mean size in megabytes."""
    from robustness.evalset import load

    folder.mkdir()
    rng = np.random.default_rng(0)
    phantoms = load("phantom:4")
    films = []
    for pair in phantoms.pairs:
        size = (WIDTH + MARGIN, HEIGHT + MARGIN)
        film = Image.fromarray(phantoms.decode(pair)).resize(size, Image.Resampling.BICUBIC)
        grain = rng.normal(0, 3, film.size[::-1])
        films.append(Image.fromarray(np.clip(film + grain, 0, 255).astype(np.uint8)))

    def save(number: int) -> int:
        film, offset = number % len(films), number // len(films)
        left, top = offset % MARGIN, offset // MARGIN
        crop = films[film].crop((left, top, left + WIDTH, top + HEIGHT))
        path = folder / f"{number:06}.jpg"
        crop.save(path, quality=QUALITY)
        return path.stat().st_size

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return statistics.mean(pool.map(save, range(images))) / 1e6


# --- the table -----------------------------------------------------------------------------


def compare(folder: Path, images: int, runs: int) -> None:
    started = time.perf_counter()
    megabytes = make_images(folder / "images", images)
    print(
        f"{images} JPEGs of {WIDTH} x {HEIGHT}, {megabytes:.2f} MB each, generated in"
        f" {time.perf_counter() - started:.0f} s; {len(os.sched_getaffinity(0))} cores"
    )
    figures: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    for number in range(runs):
        for method in list(METHODS)[:: 1 if number % 2 else -1]:
            figures[method].append(run(method, folder, images))
    few = max(1, images // FRACTION)
    smaller = {method: run(method, folder, few)["peak"] for method in METHODS}
    shutil.rmtree(folder / "store", ignore_errors=True)
    print(
        f"\n{'':8}{'images/s':>10}{'lowest':>9}{'highest':>9}{'CPU ms/image':>14}"
        f"{f'peak MB, {few}':>15}{f'{images}':>8}"
    )
    rates = {}
    for method, rows in figures.items():
        each = [row["rate"] for row in rows]
        rates[method] = statistics.median(each)
        cpu = 1e3 * statistics.median(row["cpu"] for row in rows)
        peak = max(row["peak"] for row in rows)
        print(
            f"{method:8}{rates[method]:10.1f}{min(each):9.1f}{max(each):9.1f}{cpu:14.1f}"
            f"{smaller[method]:15.0f}{peak:8.0f}"
        )
    print(f"\nmedians of {runs} runs each; gate / Pillow: {rates['gate'] / rates['Pillow']:.2f}")


if __name__ == "__main__":
    main()
