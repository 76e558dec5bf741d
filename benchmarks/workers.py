"""The gate in several processes beside the same gate in one: ``-n 2`` and ``-n 4`` beside ``-n 0``.

``pytest -m robustness`` from an empty store, its search included, on drawn images at eight
levels; the whole process is timed, from Python's start to its end. On a machine with one GPU
all the processes share it.

    python benchmarks/workers.py --device cuda --model ViT-B-32
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from _scratch import LOADERS, run_whole, vit_checkpoint, write_repository
from _side_by_side import Figures, in_turns, pin
from end_to_end import LEVELS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--levels", default=LEVELS)
    parser.add_argument("--workers", default="0,2,4", help="(default: %(default)s)")
    parser.add_argument("--model", choices=LOADERS, default="phantom")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cores", type=int, default=2)
    given = parser.parse_args()
    pin(given.cores)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        levels = [float(level) for level in given.levels.split(",")]
        checkpoint = folder / "vit.safetensors"
        if given.model != "phantom":
            vit_checkpoint(checkpoint)
        write_repository(folder, given.model, f"phantom:{given.images}", levels, checkpoint)
        ways = [f"-n {workers}" for workers in given.workers.split(",")]
        found = in_turns(ways, given.runs, lambda way: run(folder, way, given.device))
    alone = found[ways[0]]["seconds"]
    print(f"\n{given.model}, {given.images} images, {len(levels)} levels, on {given.device}\n")
    for way, figures in found.items():
        seconds = figures["seconds"]
        print(f"{way:6}{seconds:8.1f} s{seconds / alone:8.2f}   embedded {figures['computed']:.0f}")


def run(folder: Path, way: str, device: str) -> Figures:
    """Seconds of a run from an empty store, and how many entries of it were computed."""
    shutil.rmtree(folder / ".robustness", ignore_errors=True)
    seconds, results = run_whole(folder, *way.split(), f"--robustness-device={device}")
    return {"seconds": seconds, "computed": results["timing"]["store"]["computed"]}


if __name__ == "__main__":
    main()
