"""The gate in several processes (``-n 2``, ``-n 4``), compared with one process.

``pytest -m robustness`` from an empty store, including the search, on phantoms at eight levels.
Whole processes are timed. On a machine with one GPU all processes share it.

    python benchmarks/workers.py --device cuda --model ViT-B-32
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from _scratch import LOADERS, run_whole, vit_checkpoint, write_repository
from _side_by_side import Figures, alternate, pin
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
    args = parser.parse_args()
    pin(args.cores)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        levels = [float(level) for level in args.levels.split(",")]
        checkpoint = folder / "vit.safetensors"
        if args.model != "phantom":
            vit_checkpoint(checkpoint)
        write_repository(folder, args.model, f"phantom:{args.images}", levels, checkpoint)
        methods = [f"-n {workers}" for workers in args.workers.split(",")]
        medians = alternate(methods, args.runs, lambda method: run(folder, method, args.device))
    one_process = medians[methods[0]]["seconds"]
    print(f"\n{args.model}, {args.images} images, {len(levels)} levels, on {args.device}\n")
    for method, figures in medians.items():
        seconds, computed = figures["seconds"], figures["computed"]
        ratio = seconds / one_process
        print(f"{method:6}{seconds:8.1f} s{ratio:8.2f}   embedded {computed:.0f}")


def run(folder: Path, method: str, device: str) -> Figures:
    """Return the seconds of a run from an empty store, and the number of entries it computed."""
    shutil.rmtree(folder / ".robustness", ignore_errors=True)
    seconds, results = run_whole(folder, *method.split(), f"--robustness-device={device}")
    return {"seconds": seconds, "computed": results["timing"]["store"]["computed"]}


if __name__ == "__main__":
    main()
