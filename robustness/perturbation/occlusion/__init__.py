"""Which pixels of a radiograph are hidden, from a pattern, a level and a seed.

The decoded image is what gets occluded, before any model's own resize and crop, so
that every model loses the same pixels.
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
"""The grey level (0 to 255) that a hidden pixel takes, by the fill's name."""

SCHEMA = "occlusion-1"
"""Changes when the same (pattern, level, seed, image_id) would hide other pixels."""


@dataclass(frozen=True, slots=True)
class Occlusion:
    """One way of hiding a share of every image.

    The pixels hidden depend on the pattern, the level, the seed and the image's id, and
    on nothing else: not on the batch, the order, the process or the device. Masks of one
    seed are nested: a higher level hides a superset, whatever the fill.

    Attributes:
        pattern: A name of :data:`PATTERNS`: ``square``, one box; ``grid``, cells of a
            16 x 16 grid.
        level: The share of the image's area that is hidden, 0 (clean) to 1.
        fill: A name of :data:`FILLS`.
        seed: A whole number from 0 on.

    Raises:
        ValueError: An attribute is outside what is allowed.
    """

    pattern: str
    level: float
    fill: str = "black"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise ValueError(f"unknown pattern {self.pattern!r}; there are {', '.join(PATTERNS)}")
        if self.fill not in FILLS:
            raise ValueError(f"unknown fill {self.fill!r}; there are {', '.join(FILLS)}")
        if not (math.isfinite(self.level) and 0 <= self.level <= 1):
            raise ValueError(
                f"level {self.level!r} is outside 0 to 1; it is the hidden share of the area"
            )
        if self.seed < 0:
            raise ValueError(f"seed {self.seed!r} is negative; it is a whole number from 0 on")

    def __str__(self) -> str:
        """The form that :meth:`parse` reads, such as ``square:0.3:black:0``."""
        return f"{self.pattern}:{self.level!r}:{self.fill}:{self.seed}"

    @classmethod
    def parse(cls, text: str) -> Occlusion:
        """Reads ``pattern:level:fill:seed``.

        Raises:
            ValueError: The text has another form, or a part is outside what is allowed.
        """
        parts = text.split(":")
        try:
            pattern, level, fill, seed = parts
            return cls(pattern, float(level), fill, int(seed))
        except ValueError as error:
            raise ValueError(
                f"occlusion {text!r} is not pattern:level:fill:seed, as square:0.3:black:0 is"
                f" ({error})"
            ) from error

    def mask(self, image_id: str, height: int, width: int) -> NDArray[np.bool_]:
        """The hidden pixels of one image.

        The hidden area is ``level * height * width`` to within half a row of the box
        (``square``) or of one cell (``grid``).

        Args:
            image_id: The image's id, from which its mask is drawn.
            height: Rows, at least 1.
            width: Columns, at least 1.

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
        """The share of one image's area that is hidden: the mean of its mask, without the mask.

        Raises:
            ValueError: The height or the width is below 1.
        """
        top, bottom, left, right = self.boxes(image_id, height, width).T
        return int(((bottom - top) * (right - left)).sum()) / (height * width)

    def apply(self, image: NDArray[np.uint8], image_id: str) -> NDArray[np.uint8]:
        """A copy of an image with its hidden pixels filled.

        Args:
            image: uint8 ``[height, width]``, 0 black.
            image_id: The image's id, from which its mask is drawn.

        Returns:
            uint8 ``[height, width]``.

        Raises:
            ValueError: The image is of another type or shape.
        """
        if image.dtype != np.uint8 or image.ndim != 2:  # noqa: PLR2004
            raise ValueError(
                f"image {image_id!r} is {image.dtype} of shape {image.shape};"
                " an image is uint8 [height, width]"
            )
        occluded = image.copy()
        for top, bottom, left, right in self.boxes(image_id, *image.shape).tolist():
            occluded[top:bottom, left:right] = FILLS[self.fill]
        return occluded

    def boxes(self, image_id: str, height: int, width: int) -> Boxes:
        """The hidden boxes of one image, none of which overlap.

        Args:
            image_id: The image's id, from which they are drawn.
            height: Rows, at least 1.
            width: Columns, at least 1.

        Returns:
            int64 ``[n, 4]``: top, bottom, left and right, half open.

        Raises:
            ValueError: The height or the width is below 1.
        """
        if height < 1 or width < 1:
            raise ValueError(f"image {image_id!r} has size {height} x {width}; at least 1 x 1")
        if self.level == 0:
            return np.zeros((0, 4), dtype=np.int64)
        # The level is not hashed, so that all the levels of one seed share their draws and
        # nest. Philox's raw output is the part of NumPy that is promised to stay the same.
        text = f"{SCHEMA}\0{self.pattern}\0{self.seed}\0{image_id}"
        key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
        return PATTERNS[self.pattern](np.random.Philox(key=key), self.level, height, width)


CLEAN = Occlusion("square", 0)
"""Level 0 hides nothing, so pattern, fill and seed are of no account there."""
