"""Numbers as a person reads them."""

from __future__ import annotations


def points(share: float) -> str:
    """A difference of fractions in points, such as ``1.4 points``."""
    text = f"{100 * share:.1f}".removesuffix(".0")
    return f"{text} point" if text == "1" else f"{text} points"
