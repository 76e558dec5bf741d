"""Randomly damaged tables are loaded or refused in one line that names them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

KINDS = {
    "csv": 200,
    "tsv.gz": 100,
    "jsonl": 200,
    "parquet": 200,
    "tar": 120,
    "data-00000-of-00001.arrow": 250,
    "state.json": 150,
    "dataset_info.json": 150,
}


@pytest.mark.parametrize(("kind", "number"), KINDS.items(), ids=KINDS)
def test_damaged_tables_load_or_give_a_one_line_error(tmp_path, kind, number):
    done = subprocess.run(
        [sys.executable, "-m", "support.table_mutations", kind, tmp_path, str(number)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = json.loads(done.stdout)
    assert outcomes["others"] == []
    assert outcomes["read"] + outcomes["refused"] == number
    assert outcomes["refused"] > number / 10
    assert outcomes["grown_mb"] < 200
