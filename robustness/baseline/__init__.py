"""Baselines: saved per-query rank counts of a run, for paired comparison with a later one.

A baseline is one safetensors file such as ``0003_main.safetensors``: the rank counts of every
query, model and perturbation, with the protocol as metadata. Names and numbers follow
pytest-benchmark: each save gets the next number, and a name refers to its newest save.
"""

from robustness.baseline._file import check_name, find, load, save
from robustness.baseline._values import (
    Key,
    ModelRun,
    Run,
    check_protocol,
    differences,
)

__all__ = [
    "Key",
    "ModelRun",
    "Run",
    "check_name",
    "check_protocol",
    "differences",
    "find",
    "load",
    "save",
]
