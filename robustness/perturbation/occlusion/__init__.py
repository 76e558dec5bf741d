"""Occlusion: hide a fraction of an image's area.

Occlusion is applied to the decoded image, before any model's own resize and crop, so that the
same pixels are hidden from every model.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustness.perturbation.occlusion._patterns import PATTERNS, Boxes

__all__ = ["CLEAN", "FILLS", "PATTERNS", "SCHEMA", "Occlusion"]

FILLS = {"black": 0, "grey": 128}
"""Grey level (0 to 255) of hidden pixels, by name of the fill."""

SCHEMA = "occlusion-1"
"""Version of the masks; must change if equal arguments would hide other pixels."""


@dataclass(frozen=True, slots=True)
class Occlusion:
    """An occlusion of images: pattern, level, fill and seed.

    The hidden pixels depend only on the pattern, the level, the seed and the image's id, not on
    the batch, the order, the process or the device. Masks of one seed are nested: a higher level
    hides a superset of the pixels. The fill does not change the mask.

    Example:
        >>> from robustness.perturbation import Occlusion
        >>> str(Occlusion("square", 0.3, fill="grey", seed=7))
        'square:0.3:grey:7'

    Attributes:
        pattern: A key of :data:`PATTERNS`: ``square`` (one box) or ``grid`` (cells of a 16 x 16
            grid).
        level: The hidden fraction of the image's area, 0 (clean) to 1.
        fill: A key of :data:`FILLS`: ``black`` or ``grey``.
        seed: Seed of the positions, at least 0.

    Raises:
        ValueError: An attribute is outside its allowed values.
    """

    pattern: str
    level: float
    fill: str = "black"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise ValueError(f"unknown pattern {self.pattern!r}; allowed are {', '.join(PATTERNS)}")
        if self.fill not in FILLS:
            raise ValueError(f"unknown fill {self.fill!r}; allowed are {', '.join(FILLS)}")
        if not (math.isfinite(self.level) and 0 <= self.level <= 1):
            raise ValueError(
                f"level {self.level!r} is outside 0 to 1; it is the hidden fraction of the area"
            )
        if self.seed < 0:
            raise ValueError(f"seed {self.seed!r} is negative; it is an integer of at least 0")

    def __str__(self) -> str:
        """Return the text that :meth:`parse` reads, such as ``square:0.3:black:0``."""
        return f"{self.pattern}:{self.level}:{self.fill}:{self.seed}"

    @classmethod
    def parse(cls, text: str) -> Occlusion:
        """Return the occlusion of a text ``pattern:level:fill:seed``; the inverse of ``str``.

        Example:
            >>> from robustness.perturbation import Occlusion
            >>> Occlusion.parse("grid:0.5:grey:3")
            Occlusion(pattern='grid', level=0.5, fill='grey', seed=3)

        Raises:
            ValueError: The text has another form, or a part is outside its allowed values.
        """
        parts = text.split(":")
        try:
            pattern, level, fill, seed = parts
            return cls(pattern, float(level), fill, int(seed))
        except ValueError as error:
            raise ValueError(
                f"occlusion {text!r} is not pattern:level:fill:seed, such as square:0.3:black:0"
                f" ({error}); allowed are pattern {' or '.join(PATTERNS)}, level 0 to 1, fill"
                f" {' or '.join(FILLS)}, seed an integer of at least 0"
            ) from error

    def mask(self, image_id: str, height: int, width: int) -> NDArray[np.bool_]:
        """Return the hidden pixels of an image.

        The hidden area is ``level * height * width`` with an error of at most half a row of the
        box (``square``) or of one cell (``grid``).

        Example:
            >>> from robustness.perturbation import Occlusion
            >>> Occlusion("square", 0.25).mask("study-1", 4, 4).astype(int)
            array([[0, 0, 0, 0],
                   [1, 1, 0, 0],
                   [1, 1, 0, 0],
                   [0, 0, 0, 0]])

        Args:
            image_id: The image's id, which determines its mask together with the seed.
            height: Height in pixels, at least 1.
            width: Width in pixels, at least 1.

        Returns:
            bool ``[height, width]``, True where hidden.

        Raises:
            ValueError: The height or the width is below 1.
        """
        hidden = np.zeros((height, width), dtype=np.bool_)
        for top, bottom, left, right in self.boxes(image_id, height, width).tolist():
            hidden[top:bottom, left:right] = True
        return hidden

    def hidden_share(self, image_id: str, height: int, width: int) -> float:
        """Return the hidden fraction of an image's area, the mean of its mask.

        Raises:
            ValueError: The height or the width is below 1.
        """
        top, bottom, left, right = self.boxes(image_id, height, width).T
        return int(((bottom - top) * (right - left)).sum()) / (height * width)

    def apply(self, image: NDArray[np.uint8], image_id: str) -> NDArray[np.uint8]:
        """Return a copy of an image with its hidden pixels filled.

        Example:
            >>> import numpy as np
            >>> from robustness.perturbation import Occlusion
            >>> Occlusion("square", 0.25, "grey").apply(np.zeros((4, 4), np.uint8), "study-1")
            array([[  0,   0,   0,   0],
                   [128, 128,   0,   0],
                   [128, 128,   0,   0],
                   [  0,   0,   0,   0]], dtype=uint8)

        Args:
            image: uint8 ``[height, width]``; 0 is black.
            image_id: The image's id, which determines its mask together with the seed.

        Returns:
            uint8 ``[height, width]``.

        Raises:
            ValueError: The image has another dtype or shape.
        """
        if image.dtype != np.uint8 or image.ndim != 2:  # noqa: PLR2004
            raise ValueError(
                f"image {image_id!r} is {image.dtype} of shape {image.shape};"
                " it must be uint8 [height, width]"
            )
        occluded = image.copy()
        for top, bottom, left, right in self.boxes(image_id, *image.shape).tolist():
            occluded[top:bottom, left:right] = FILLS[self.fill]
        return occluded

    def boxes(self, image_id: str, height: int, width: int) -> Boxes:
        """Return the hidden boxes of an image; they do not overlap.

        Args:
            image_id: The image's id, which determines the boxes together with the seed.
            height: Height in pixels, at least 1.
            width: Width in pixels, at least 1.

        Returns:
            int64 ``[n, 4]``: top, bottom, left, right; bottom and right are exclusive.

        Raises:
            ValueError: The height or the width is below 1.
        """
        if height < 1 or width < 1:
            raise ValueError(
                f"image {image_id!r} has size {height} x {width}; it must be at least 1 x 1"
            )
        if self.level == 0:
            return np.zeros((0, 4), dtype=np.int64)
        # The level is not hashed, so that all levels of a seed share their random draws, which
        # makes masks nested. NumPy guarantees that Philox's raw output stays the same.
        text = f"{SCHEMA}\0{self.pattern}\0{self.seed}\0{image_id}"
        key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
        return PATTERNS[self.pattern](np.random.Philox(key=key), self.level, height, width)


CLEAN = Occlusion("square", 0)
"""No occlusion: at level 0, pattern, fill and seed have no effect."""
