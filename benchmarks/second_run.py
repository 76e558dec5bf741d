"""The gate once more after nothing but a threshold changed, beside its first run.

``pytest -m robustness`` with this repository's thresholds.yaml, its search included; whole
processes, from Python's start to its end. Beside them Python that imports what the second run
cannot do without, PyTorch and pytest.

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
from _side_by_side import Figures, in_turns, pin

from robustness._util.profile import IMAGES, TEXTS

THRESHOLDS = Path(__file__).parents[1] / "thresholds.yaml"
STORE = ".robustness"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cores", type=int, default=2)
    given = parser.parse_args()
    pin(given.cores)
    device = f"--robustness-device={given.device}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_suite(folder)
        ways = {
            "imports alone": imports,
            "first run": lambda: first_run(folder, device),
            "second run": lambda: second_run(folder, device),
        }
        # In turns that change direction, a second run would come before the first.
        shutil.copy(THRESHOLDS, folder)
        run_whole(folder, device)
        found = in_turns(list(ways), given.runs, lambda way: ways[way]())
    print(f"\nmedians of {given.runs}\n")
    for way, figures in found.items():
        print(f"{way:14}{figures['seconds']:6.1f} s")


def imports() -> Figures:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import pytest, torch"], check=True)
    return {"seconds": time.perf_counter() - started}


def first_run(folder: Path, device: str) -> Figures:
    shutil.copy(THRESHOLDS, folder)
    shutil.rmtree(folder / STORE)
    return measured(folder, device)


def second_run(folder: Path, device: str) -> Figures:
    written = THRESHOLDS.read_text()
    changed = written.replace("hit@10 >= 0.90", "hit@10 >= 0.89")
    (folder / THRESHOLDS.name).write_text(changed)
    figures = measured(folder, device)
    if changed == written or figures["passed through"] or figures["model loads"]:
        sys.exit(f"no threshold was changed, or the second run computed: {figures}")
    return figures


def measured(folder: Path, device: str) -> Figures:
    """Seconds of a run, and what it computed."""
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
