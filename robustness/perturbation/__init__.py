"""Perturbations of an input, named by a short text such as ``square:0.3:black:0``."""

from __future__ import annotations

from robustness.perturbation.occlusion import Occlusion

__all__ = ["Occlusion", "parse"]


def parse(text: str) -> Occlusion:
    """Return the perturbation that a text names, such as ``square:0.3:black:0``.

    It is the inverse of ``str``: ``parse(str(perturbation)) == perturbation``.

    Example:
        >>> from robustness.perturbation import parse
        >>> parse("square:0.3:black:0")
        Occlusion(pattern='square', level=0.3, fill='black', seed=0)

    Args:
        text: ``pattern:level:fill:seed``; see :class:`Occlusion` for the values.

    Raises:
        ValueError: The text has another form, or a part is outside its allowed values.
    """
    return Occlusion.parse(text)
