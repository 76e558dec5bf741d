"""Baselines: the ranks of a past run, query by query, so that the next is compared in pairs.

A baseline is one safetensors file, ``0003_main.safetensors``: the rank counts of every query
of every model and occlusion, and as metadata what they were measured on. Names and numbers
are pytest-benchmark's habit: each save of a name gets the next number, and the newest of a
name is the one that is meant.
"""

from robustness.baseline._file import check_name, find, load, save
from robustness.baseline._values import (
    Key,
    ModelRun,
    Run,
    check_protocol,
    differences,
    from_records,
)

__all__ = [
    "Key",
    "ModelRun",
    "Run",
    "check_name",
    "check_protocol",
    "differences",
    "find",
    "from_records",
    "load",
    "save",
]
