"""A second run of the gate after one threshold changed, compared with its first run.

``pytest -m robustness`` with this repository's thresholds.yaml, including the search. Whole
processes are timed. For comparison: a Python process that imports PyTorch and pytest, which the
second run cannot avoid.

    python benchmarks/second_run.py
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _scratch import run_whole, write_suite
from _side_by_side import Figures, alternate, pin

from robustness._util.profile import IMAGES, TEXTS

THRESHOLDS = Path(__file__).parents[1] / "thresholds.yaml"
STORE = ".robustness"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cores", type=int, default=2)
    args = parser.parse_args()
    pin(args.cores)
    device = f"--robustness-device={args.device}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_suite(folder)
        methods = {
            "imports alone": imports,
            "first run": lambda: first_run(folder, device),
            "second run": lambda: second_run(folder, device),
        }
        # Every other round is reversed, so the second run may come before the first one.
        shutil.copy(THRESHOLDS, folder)
        run_whole(folder, device)
        medians = alternate(list(methods), args.runs, lambda method: methods[method]())
    print(f"\nmedians of {args.runs}\n")
    for method, figures in medians.items():
        print(f"{method:14}{figures['seconds']:6.1f} s")


def imports() -> Figures:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import pytest, torch"], check=True)
    return {"seconds": time.perf_counter() - started}


def first_run(folder: Path, device: str) -> Figures:
    shutil.copy(THRESHOLDS, folder)
    shutil.rmtree(folder / STORE)
    return measured(folder, device)


def second_run(folder: Path, device: str) -> Figures:
    original = THRESHOLDS.read_text()
    changed = original.replace("hit@10 >= 0.90", "hit@10 >= 0.89")
    (folder / THRESHOLDS.name).write_text(changed)
    figures = measured(folder, device)
    if changed == original or figures["passed through"] or figures["model loads"]:
        sys.exit(f"no threshold changed, or the second run computed something: {figures}")
    return figures


def measured(folder: Path, device: str) -> Figures:
    """Return the seconds of a run and how much it computed."""
    seconds, results = run_whole(folder, device)
    timing = results["timing"]
    phases = timing["profile"]["phases"]
    return {
        "seconds": seconds,
        "passed through": sum(phases[name]["items"] for name in (IMAGES, TEXTS) if name in phases),
        "model loads": timing["model_loads"],
    }


if __name__ == "__main__":
    main()
