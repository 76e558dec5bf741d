"""Counts as a person reads them."""

from __future__ import annotations

import pytest

from robustness.wording import counted


@pytest.mark.parametrize(
    ("n", "one", "said"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2, "image", "2 images"),
        (12345, "image", "12,345 images"),
        (1, "study", "1 study"),
        (3, "study", "3 studies"),
        (1, "process", "1 process"),
        (2, "process", "2 processes"),
    ],
)
def test_one_is_told_from_many(n, one, said):
    assert counted(n, one) == said
