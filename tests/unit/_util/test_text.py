"""Counts with singular and plural nouns."""

from __future__ import annotations

import pytest

from robustness._util.text import counted


@pytest.mark.parametrize(
    ("n", "one", "expected"),
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
def test_singular_and_plural(n, one, expected):
    assert counted(n, one) == expected
