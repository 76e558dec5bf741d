"""Reproducibility of the repository's own gate."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.gate_repository import comparable

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def run_gate(folder, *arguments):
    """Run the gate in a subprocess from an empty store, and return the results."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-m", "robustness"),
            *(f"--robustness-store={folder / 'store'}", f"--robustness-report={folder}"),
            *arguments,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return run_gate(tmp_path_factory.mktemp("first"))


@pytest.mark.parametrize("repeat", [2, 3])
def test_repeats_from_an_empty_store_are_equal_byte_for_byte(first, tmp_path, repeat):
    again = run_gate(tmp_path)
    assert json.dumps(comparable(again), indent=2) == json.dumps(comparable(first), indent=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("-n", "2"),
        ("-n", "4"),
        ("--robustness-batch-size=1",),
        ("--robustness-batch-size=7",),
    ],
    ids=" ".join,
)
def test_workers_and_batch_sizes_move_no_metric_by_more_than_a_query(first, tmp_path, arguments):
    results = run_gate(tmp_path, *arguments)
    assert results["verdict"] == first["verdict"]
    for cell, other in zip(results["measurements"], first["measurements"], strict=True):
        assert cell["verdict"] == other["verdict"]
        for name, metric in cell["metrics"].items():
            if name.startswith(("hit@", "recall@", "mrr")):
                apart = abs(metric["value"] - other["metrics"][name]["value"])
                assert apart <= 1 / cell["n"] + 1e-12, (name, cell)
    stores = [r["timing"]["store"]["computed"] for r in (results, first)]
    assert stores[0] == stores[1], "no embedding is computed twice"
