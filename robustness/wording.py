"""Counts as a person reads them."""

from __future__ import annotations


def counted(n: int, one: str) -> str:
    """A number with what it counts: ``1 image``, ``2 images``, ``0 studies``.

    Args:
        n: The number.
        one: What one of them is called; its plural is a regular one.
    """
    if n == 1:
        return f"1 {one}"
    if one.endswith("y"):
        return f"{n:,} {one[:-1]}ies"
    return f"{n:,} {one}{'es' if one.endswith('s') else 's'}"
