"""A user's repository for benchmarks, the checkpoint of a ViT-B-32, and the gate run there."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

VIT = "open_clip:ViT-B-32"
LOADERS = {"ViT-B-32": "robustness.models.hub:load", "phantom": "robustness.models.phantom:load"}


def vit_checkpoint(path: Path) -> Path:
    """An open_clip ViT-B-32 whose weights are drawn from a seed, as a file."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    # It warns that nothing was trained.
    logging.disable(logging.WARNING)
    save_file(open_clip.create_model("ViT-B-32", pretrained=None).state_dict(), path)
    logging.disable(logging.NOTSET)
    return path


def load_model(model: str, checkpoint: Path, device: str = "cpu") -> Any:
    """The model that :func:`write_repository` names, without the gate."""
    from robustness.encoder import load

    if model == "phantom":
        return load(LOADERS[model], device=device)
    return load(LOADERS[model], weights=checkpoint, device=device, model=VIT)


def write_repository(  # noqa: PLR0913 - what a benchmark chooses
    folder: Path,
    model: str,
    evalset: str,
    levels: Sequence[float],
    checkpoint: Path,
    *,
    patterns: Sequence[str] = ("square",),
    fills: Sequence[str] = ("black",),
) -> None:
    """Thresholds that every model meets, and the one line."""
    entry: dict[str, Any] = {"loader": LOADERS[model]}
    if model != "phantom":
        entry |= {"weights": str(checkpoint), "options": {"model": VIT}}
    thresholds = {
        "version": 1,
        "evalset": evalset,
        "models": {"measured": entry},
        "occlusion": {
            "patterns": list(patterns),
            "fills": list(fills),
            "levels": list(levels),
        },
        "bounds": [{"require": ["hit@10 >= 0"]}],
        "properties": {"bound": "hit@10 >= 0", "subset": 16, "examples": 1},
    }
    folder.mkdir(parents=True, exist_ok=True)
    # JSON is YAML.
    (folder / "thresholds.yaml").write_text(json.dumps(thresholds, indent=2))
    write_suite(folder)


def write_suite(folder: Path) -> None:
    """What makes the gate's cases those of the folder."""
    (folder / "test_release.py").write_text("from robustness.suite import *\n")
    (folder / "pytest.ini").write_text("[pytest]\n")


def run_whole(folder: Path, *options: str) -> tuple[float, dict[str, Any]]:
    """Runs ``pytest -m robustness`` by itself; seconds from Python's start to its end, results."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "robustness", *options]
    started = time.perf_counter()
    done = subprocess.run(  # noqa: S603
        command, cwd=folder, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    results = folder / ".robustness" / "report" / "results.json"
    return seconds, json.loads(results.read_text())


def run_gate(folder: Path, device: str, precision: str = "float32") -> tuple[float, dict[str, Any]]:
    """Runs ``pytest -m robustness`` in this process; its seconds, and its results.

    What Python imports is imported before the clock starts. The search's own cases are left
    out: the peers do not search.
    """
    from robustness._util.threads import wait_briefly

    wait_briefly()
    import open_clip  # noqa: F401
    import pytest

    import robustness.models._hub_open_clip
    import robustness.models.phantom  # noqa: F401
    import robustness.run.gate
    import robustness.run.search  # noqa: F401

    os.chdir(folder)
    said = io.StringIO()
    started = time.perf_counter()
    with redirect_stdout(said):
        asked = [f"--robustness-device={device}", f"--robustness-precision={precision}"]
        status = pytest.main(["-m", "robustness", "-k", "test_occlusion", *asked])
    seconds = time.perf_counter() - started
    written = folder / ".robustness" / "report" / "results.json"
    results = json.loads(written.read_text()) if written.exists() else {"measurements": []}
    if not results["measurements"] or any(
        "metrics" not in cell for cell in results["measurements"]
    ):
        sys.exit(f"the gate ended with {status}:\n{said.getvalue()}")
    return seconds, results
