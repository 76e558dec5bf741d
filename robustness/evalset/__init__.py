"""Evaluation sets: images with their reports."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from robustness.errors import UsageError
from robustness.evalset import _spec
from robustness.evalset._base import (
    SECTIONS,
    EvaluationSet,
    Exclusion,
    Pair,
    Remember,
    Report,
    Unread,
    forget,
    suggestions,
)
from robustness.evalset._text import POLICIES, Matching, match, normalise
from robustness.evalset.images import Image
from robustness.evalset.images.decode import read_image

__all__ = [
    "KINDS",
    "POLICIES",
    "SECTIONS",
    "EvaluationSet",
    "Exclusion",
    "Image",
    "Matching",
    "Pair",
    "Remember",
    "Report",
    "Unread",
    "check_spec",
    "load",
    "located",
    "match",
    "normalise",
    "read_image",
    "suggestions",
]

KINDS = {
    "phantom": "phantom:N or phantom:N:SEED, procedural radiographs",
    "open_i": "open_i:DIR, the Indiana University collection as it unpacks",
    "mimic_cxr": "mimic_cxr:DIR, MIMIC-CXR-JPG as PhysioNet lays it out",
    "manifest": "manifest:FILE, a CSV, TSV, Parquet or JSON Lines table of images and reports",
    "hf": "hf:DIR, a Hugging Face dataset saved to disk",
    "webdataset": "webdataset:SHARDS, tar shards such as DIR/{000..015}.tar",
}
"""The kinds of evaluation set, each with what its specification looks like."""


def check_spec(spec: str) -> None:
    """Sees that a specification is well formed and its folder there; loads nothing.

    Raises:
        UsageError: The kind is unknown, or what follows it is not as its kind asks.
    """
    kind, rest = _kind(spec)
    kind.check(rest)


def load(spec: str, *, remember: Remember = forget) -> EvaluationSet:
    """Loads an evaluation set by its specification.

    Args:
        spec: ``phantom:512``, ``open_i:DIR``, ``mimic_cxr:DIR,split=validate``; see
            :data:`KINDS`.
        remember: Keeps what is slow to find out about a collection for the next time, such
            as :meth:`robustness.embedding.Store.fetch`; by default nothing is kept.

    Raises:
        UsageError: The specification is malformed, or its folder is missing.
        EvaluationSetError: The set cannot be read, or holds no usable pair.
    """
    kind, rest = _kind(spec)
    return kind.load(rest, remember=remember)


def located(spec: str, folder: Path) -> str:
    """A specification that a file in a folder holds, as one that is given in this folder.

    Args:
        spec: As it is written; relative paths in it are the folder's.
        folder: The file's.

    Raises:
        UsageError: The kind or an option is unknown, or no place is named.
    """
    kind, rest = _kind(spec)
    allowed = getattr(kind, "OPTIONS", None)
    # A set that is made lies nowhere.
    if allowed is None:
        return spec
    return _spec.located(spec.partition(":")[0], rest, allowed, folder)


class _Kind(Protocol):
    """A module that reads one kind of evaluation set."""

    def check(self, rest: str, /) -> None: ...
    def load(self, rest: str, /, *, remember: Remember) -> EvaluationSet: ...


def _kind(spec: str) -> tuple[_Kind, str]:
    kind, _, rest = spec.partition(":")
    if kind not in KINDS:
        raise UsageError(
            f"unknown evaluation set {spec!r}; allowed are {'; '.join(KINDS.values())}",
            "unknown_evalset",
        )
    return cast("_Kind", import_module(f"robustness.evalset.{kind}")), rest
