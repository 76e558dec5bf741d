"""A user's repository for benchmarks: thresholds, a ViT-B-32 checkpoint, runs of the gate."""

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
    """Write an open_clip ViT-B-32 with random weights; return the path."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    # It warns that the weights are not trained.
    logging.disable(logging.WARNING)
    save_file(open_clip.create_model("ViT-B-32", pretrained=None).state_dict(), path)
    logging.disable(logging.NOTSET)
    return path


def load_model(model: str, checkpoint: Path, device: str = "cpu") -> Any:
    """Load the model that :func:`write_repository` names, without the gate."""
    from robustness.encoder import load

    if model == "phantom":
        return load(LOADERS[model], device=device)
    return load(LOADERS[model], weights=checkpoint, device=device, model=VIT)


def write_repository(  # noqa: PLR0913 - the settings of a benchmark
    folder: Path,
    model: str,
    evalset: str,
    levels: Sequence[float],
    checkpoint: Path,
    *,
    patterns: Sequence[str] = ("square",),
    fills: Sequence[str] = ("black",),
) -> None:
    """Write a repository with thresholds that every model meets."""
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
    """Write the test file that imports the gate's cases."""
    (folder / "test_release.py").write_text("from robustness.suite import *\n")
    (folder / "pytest.ini").write_text("[pytest]\n")


def run_whole(folder: Path, *options: str) -> tuple[float, dict[str, Any]]:
    """Run ``pytest -m robustness`` in a process of its own; return its seconds and results."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "robustness", *options]
    started = time.perf_counter()
    completed = subprocess.run(  # noqa: S603
        command, cwd=folder, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if completed.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{completed.stdout}\n{completed.stderr}")
    results = folder / ".robustness" / "report" / "results.json"
    return seconds, json.loads(results.read_text())


def run_gate(folder: Path, device: str, precision: str = "float32") -> tuple[float, dict[str, Any]]:
    """Run ``pytest -m robustness`` in this process; return its seconds and results.

    All imports are done before the clock starts. The property cases are left out, because the
    alternatives do not search.
    """
    from robustness._util.threads import wait_briefly

    wait_briefly()
    import open_clip  # noqa: F401
    import pytest

    import robustness.models._hub_open_clip
    import robustness.models.phantom
    import robustness.run.gate
    import robustness.run.search  # noqa: F401

    os.chdir(folder)
    output = io.StringIO()
    started = time.perf_counter()
    with redirect_stdout(output):
        options = [f"--robustness-device={device}", f"--robustness-precision={precision}"]
        status = pytest.main(["-m", "robustness", "-k", "test_occlusion", *options])
    seconds = time.perf_counter() - started
    path = folder / ".robustness" / "report" / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {"measurements": []}
    if not results["measurements"] or any(
        "metrics" not in measurement for measurement in results["measurements"]
    ):
        sys.exit(f"the gate ended with status {status}:\n{output.getvalue()}")
    return seconds, results
