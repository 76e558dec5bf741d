"""Report texts: when two say the same, and which of them answer which image."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POLICIES = ("identical_text", "pair", "study")
"""What counts as a right answer; see :func:`match`."""


def normalise(text: str) -> str:
    """Case, white space and Unicode form taken out: texts that differ only so are one."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@dataclass(frozen=True, slots=True)
class Matching:
    """The report side of a retrieval: which texts there are, and whose they are.

    Attributes:
        texts: The M texts to embed.
        text_of_image: int64 ``[N]``, an index into the texts; the text each image came with.
        reports_of_image: For each image the indexes of the texts that are right for it.
        images_of_report: For each text the indexes of the images that are right for it.
    """

    texts: tuple[str, ...]
    text_of_image: NDArray[np.int64]
    reports_of_image: list[NDArray[np.int64]]
    images_of_report: list[NDArray[np.int64]]


def match(texts: Sequence[str], studies: Sequence[str], policy: str) -> Matching:
    """Pairs images with texts under a policy.

    - ``identical_text``: each normalised text stands once; every image that came with it
      is right for it.
    - ``pair``: each image's text stands for itself; only its own image is right for it.
    - ``study``: each study's text stands once; every image of the study is right for it.

    Args:
        texts: The text that each of the N images came with, as the model reads it.
        studies: The study of each image, ``[N]``.
        policy: One of :data:`POLICIES`.

    Raises:
        ValueError: The policy is unknown.
    """
    if policy == "identical_text":
        keys: Sequence[object] = [normalise(text) for text in texts]
    elif policy == "pair":
        keys = range(len(texts))
    elif policy == "study":
        keys = studies
    else:
        raise ValueError(f"unknown policy of positives {policy!r}; there are {', '.join(POLICIES)}")
    index: dict[object, int] = {}
    of_image = np.array([index.setdefault(key, len(index)) for key in keys], dtype=np.int64)
    _, first = np.unique(of_image, return_index=True)
    order = np.argsort(of_image, kind="stable")
    images = np.split(order, np.cumsum(np.bincount(of_image))[:-1])
    return Matching(
        texts=tuple(texts[i] for i in first),
        text_of_image=of_image,
        reports_of_image=list(of_image[:, None]),
        images_of_report=images,
    )
