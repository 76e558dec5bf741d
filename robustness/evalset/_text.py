"""Report texts: normalisation, and the positives of each image and report."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POLICIES = ("identical_text", "pair", "study")
"""The policies of positives; see :func:`match`."""


def normalise(text: str) -> str:
    """Return a text in one case, Unicode form and white space, for comparison.

    Example:
        >>> normalise(" No  ACUTE process. ")
        'no acute process.'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@dataclass(frozen=True, slots=True)
class Matching:
    """The texts of a retrieval and the positives in both directions.

    Attributes:
        texts: The M distinct texts to embed.
        text_of_image: The index of the text of each image, int64 ``[N]``.
        reports_of_image: The indexes of the positive texts of each image, N arrays.
        images_of_report: The indexes of the positive images of each text, M arrays.
    """

    texts: tuple[str, ...]
    text_of_image: NDArray[np.int64]
    reports_of_image: list[NDArray[np.int64]]
    images_of_report: list[NDArray[np.int64]]


def match(texts: Sequence[str], studies: Sequence[str], policy: str) -> Matching:
    """Match images and texts under a policy of positives.

    - ``identical_text``: one entry per normalised text; its positives are all images with it.
    - ``pair``: one entry per image; its only positive is that image.
    - ``study``: one entry per study; its positives are all images of the study.

    Args:
        texts: The text of each of the N images, as the model reads it.
        studies: The study of each image, ``[N]``.
        policy: One of :data:`POLICIES`.

    Raises:
        ValueError: The policy is unknown.

    Example:
        >>> match(["Normal.", "Mass.", "normal."], ["a", "b", "c"], "identical_text").texts
        ('Normal.', 'Mass.')
    """
    if policy == "identical_text":
        keys: Sequence[object] = [normalise(text) for text in texts]
    elif policy == "pair":
        keys = range(len(texts))
    elif policy == "study":
        keys = studies
    else:
        raise ValueError(
            f"unknown policy of positives {policy!r}; allowed are {', '.join(POLICIES)}"
        )
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
