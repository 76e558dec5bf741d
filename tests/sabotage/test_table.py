"""The table of sabotages: every test in it, every cause with a reason of its own."""

from __future__ import annotations

import inspect
from importlib import import_module

from support.sabotages import SABOTAGES, TABLE, table

from robustness.errors import REFUSALS, Code


def test_the_table_lists_the_tests():
    tried = set()
    for part in ("models", "runs", "files"):
        for name, test in vars(import_module(f"test_sabotage_{part}")).items():
            if name.startswith("test_") and "sabotaged" in inspect.signature(test).parameters:
                cases = [mark.kwargs["ids"] for mark in getattr(test, "pytestmark", [])]
                tried |= set(cases[0]) if cases else {name.removeprefix("test_")}
    assert tried == SABOTAGES.keys()
    assert TABLE.read_text(encoding="utf-8") == table()


def test_codes_of_refused_runs_are_no_reasons_of_verdicts():
    ends = {sabotage.code: sabotage.end for sabotage in SABOTAGES.values()}
    assert all(ends[sabotage.code] == sabotage.end for sabotage in SABOTAGES.values())
    for code, end in ends.items():
        if end != "mended":
            assert (Code(code) in REFUSALS) == (end == "refused")


DEMANDED = (
    "nan_embedding", "constant_embedding", "no_pairs", "no_positives", "fewer_measurements",
    "fewer_queries", "worker_crash", "killed", "empty_level", "clean_level", "deselected",
    "stale_entry", "swapped_reports", "shuffled_gallery", "other_baseline", "garbage_baseline",
    "percent_bound", "duplicate_key", "no_record", "false_pass", "dropped_bound", "missing_metric",
    "missing_ranks", "untried_property", "weights_truncated", "weights_missing", "no_bound",
    "unknown_value", "image_replaced", "weights_replaced", "flipped_baseline", "no_yaml",
)  # fmt: skip
"""What a gate must never pass; each is told apart from the others."""


def test_what_matters_most_has_a_reason_of_its_own():
    assert len({SABOTAGES[name].code for name in DEMANDED}) == len(DEMANDED) >= 25
