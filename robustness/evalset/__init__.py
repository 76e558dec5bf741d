"""Evaluation sets: images with their reports."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from robustness.errors import UsageError
from robustness.evalset._base import (
    SECTIONS,
    EvaluationSet,
    Exclusion,
    Image,
    Pair,
    Report,
)
from robustness.evalset._decode import read_image
from robustness.evalset._text import POLICIES, Matching, match, normalise

__all__ = [
    "KINDS",
    "POLICIES",
    "SECTIONS",
    "EvaluationSet",
    "Exclusion",
    "Image",
    "Matching",
    "Pair",
    "Report",
    "check_spec",
    "load",
    "match",
    "normalise",
    "read_image",
]

KINDS = {
    "phantom": "phantom:N or phantom:N:SEED, procedural radiographs",
    "open_i": "open_i:DIR, the Indiana University collection as it unpacks",
}
"""The kinds of evaluation set, each with what its specification looks like."""


def check_spec(spec: str) -> tuple[str, str]:
    """Splits ``kind:rest`` and sees that the kind is known; opens nothing.

    Raises:
        UsageError: The kind is unknown.
    """
    kind, _, rest = spec.partition(":")
    if kind not in KINDS:
        raise UsageError(
            f"unknown evaluation set {spec!r}; allowed are {'; '.join(KINDS.values())}"
        )
    return kind, rest


def load(spec: str) -> EvaluationSet:
    """Loads an evaluation set by its specification.

    Args:
        spec: ``phantom:512``, ``open_i:DIR``; see :data:`KINDS`.

    Raises:
        UsageError: The specification is malformed.
        EvaluationSetError: The set cannot be read, or holds no usable pair.
    """
    kind, rest = check_spec(spec)
    loader: Callable[[str], EvaluationSet] = import_module(f"robustness.evalset.{kind}").load
    return loader(rest)
