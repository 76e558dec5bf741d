"""The table of sabotages lists all tests, and important causes have distinct reasons."""

from __future__ import annotations

import inspect
from pathlib import Path
from runpy import run_path

from support.sabotages import SABOTAGES, TABLE, table

from robustness.errors import REFUSALS, Code


def test_the_table_lists_the_tests():
    tested = set()
    for part in ("models", "runs", "files"):
        module = run_path(str(Path(__file__).with_name(f"test_{part}.py")))
        for name, test in module.items():
            if name.startswith("test_") and "sabotaged" in inspect.signature(test).parameters:
                cases = [mark.kwargs["ids"] for mark in getattr(test, "pytestmark", [])]
                tested |= set(cases[0]) if cases else {name.removeprefix("test_")}
    assert tested == SABOTAGES.keys()
    assert TABLE.read_text(encoding="utf-8") == table()


def test_refused_runs_have_codes_of_refusals():
    ends = {sabotage.code: sabotage.end for sabotage in SABOTAGES.values()}
    assert all(ends[sabotage.code] == sabotage.end for sabotage in SABOTAGES.values())
    for code, end in ends.items():
        if end != "recovers":
            assert (Code(code) in REFUSALS) == (end == "refused")


DEMANDED = (
    "nan_embedding", "constant_embedding", "no_pairs", "no_positives", "fewer_measurements",
    "fewer_queries", "worker_crash", "killed", "empty_level", "clean_level", "deselected",
    "stale_entry", "swapped_reports", "shuffled_gallery", "other_baseline", "garbage_baseline",
    "percent_bound", "duplicate_key", "no_record", "false_pass", "dropped_bound", "missing_metric",
    "missing_ranks", "untried_property", "weights_truncated", "weights_missing", "no_bound",
    "unknown_value", "image_replaced", "weights_replaced", "flipped_baseline", "no_yaml",
)  # fmt: skip
"""Sabotages that need distinct reasons."""


def test_important_sabotages_have_distinct_reasons():
    assert len({SABOTAGES[name].code for name in DEMANDED}) == len(DEMANDED) >= 25
