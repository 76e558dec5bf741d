"""Evaluation sets: images with their reports."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from robustness.errors import Code, UsageError
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
    "match",
    "normalise",
    "read_image",
    "resolve_spec",
    "suggestions",
]

KINDS = {
    "phantom": "phantom:N or phantom:N:SEED, synthetic radiographs",
    "open_i": "open_i:DIR, the unpacked Indiana University collection",
    "mimic_cxr": "mimic_cxr:DIR, MIMIC-CXR-JPG in PhysioNet's layout",
    "manifest": "manifest:FILE, a CSV, TSV, Parquet or JSON Lines table of images and reports",
    "hf": "hf:DIR, a Hugging Face dataset saved to disk",
    "webdataset": "webdataset:SHARDS, tar shards such as DIR/{000..015}.tar",
}
"""The kinds of evaluation set, each with the form of its specification."""


def check_spec(spec: str) -> None:
    """Check that a specification is valid and its files exist; load nothing.

    Args:
        spec: The specification, such as ``open_i:DIR``; see :data:`KINDS`.

    Raises:
        UsageError: The kind is unknown, or the rest is invalid for this kind.
    """
    kind, rest = _kind(spec)
    kind.check(rest)


def load(spec: str, *, remember: Remember = forget) -> EvaluationSet:
    """Load the evaluation set of a specification.

    Args:
        spec: ``phantom:512``, ``open_i:DIR``, ``mimic_cxr:DIR,split=validate``; see
            :data:`KINDS`.
        remember: Caches arrays that are slow to compute from a collection, such as
            :meth:`robustness.embedding.Store.fetch`; by default nothing is cached.

    Raises:
        UsageError: The specification is invalid, or its folder is missing.
        EvaluationSetError: The set cannot be read, or has no usable pair.

    Example:
        >>> loaded = load("phantom:4")
        >>> len(loaded), loaded.decode(loaded.pairs[0]).dtype
        (4, dtype('uint8'))
    """
    kind, rest = _kind(spec)
    return kind.load(rest, remember=remember)


def resolve_spec(spec: str, folder: Path) -> str:
    """Resolve the relative paths of a specification against a folder.

    Args:
        spec: The specification, such as ``manifest:set.csv,root=images``.
        folder: The folder that relative paths start from.

    Raises:
        UsageError: The kind or an option is unknown, or the path is missing.

    Example:
        >>> resolve_spec("manifest:set.csv,side=64", Path("conf"))
        'manifest:conf/set.csv,side=64'
    """
    kind, rest = _kind(spec)
    allowed = getattr(kind, "OPTIONS", None)
    # A generated set has no path.
    if allowed is None:
        return spec
    return _spec.resolve(spec.partition(":")[0], rest, allowed, folder)


class _Kind(Protocol):
    """A module that loads one kind of evaluation set."""

    def check(self, rest: str, /) -> None: ...
    def load(self, rest: str, /, *, remember: Remember) -> EvaluationSet: ...


def _kind(spec: str) -> tuple[_Kind, str]:
    kind, _, rest = spec.partition(":")
    if kind not in KINDS:
        raise UsageError(
            f"unknown evaluation set {spec!r}; allowed are {'; '.join(KINDS.values())}",
            Code.UNKNOWN_EVALSET,
        )
    return cast("_Kind", import_module(f"robustness.evalset.{kind}")), rest
