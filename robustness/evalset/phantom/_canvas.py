"""Drawing primitives: coordinates, soft edges, windows and random textures.

Coordinates run from -1 to 1: x from the image's left edge (the patient's right) to its right
edge, y from top to bottom. All planes are float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Plane = NDArray[np.floating[Any]]
"""float32 ``[SIZE, SIZE]``, or a row or a column of it that broadcasts."""

Point = tuple[float, float]
"""(x, y) in the coordinates above."""

SIZE = 224
"""Height and width of a phantom radiograph, in pixels."""

X: Plane = ((np.arange(SIZE, dtype=np.float32) + 0.5) * (2 / SIZE) - 1)[None, :]
Y: Plane = X.reshape(SIZE, 1)

_TEXTURES = 6
_TEXTURE_SEED = 20_240_229
_OVERSAMPLING = 2


def ramp(distance: Plane, softness: float) -> Plane:
    """Return a smooth step: 0 below ``-softness``, 1 above ``softness``."""
    step: Plane = np.clip(distance * (0.5 / softness) + 0.5, 0, 1)
    return step * step * (3 - 2 * step)


def curve(at: Plane, points: Sequence[Point]) -> Plane:
    """Interpolate ``(position, value)`` points linearly at ``at``, in float32."""
    positions, values = zip(*points, strict=True)
    values_at: Plane = np.interp(at, positions, values).astype(np.float32)
    return values_at


def jitter(rng: np.random.Generator, spread: float) -> float:
    """Draw a normal deviate of standard deviation ``spread``, as a Python float.

    A NumPy scalar would promote float32 planes to float64.
    """
    return float(rng.standard_normal()) * spread


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a uniform deviate, as a Python float."""
    return low + (high - low) * float(rng.random())


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of the canvas, to which the computation of a small shape is limited."""

    rows: slice
    columns: slice

    @classmethod
    def around(cls, centre: Point, half_width: float, half_height: float) -> Window:
        """Return the smallest window that contains the box, clipped to the canvas."""
        x, y = centre
        return cls(
            slice(_pixel(y - half_height), _pixel(y + half_height) + 1),
            slice(_pixel(x - half_width), _pixel(x + half_width) + 1),
        )

    @property
    def x(self) -> Plane:
        """The x of the window's columns, ``[1, width]``."""
        return X[:, self.columns]

    @property
    def y(self) -> Plane:
        """The y of the window's rows, ``[height, 1]``."""
        return Y[self.rows]

    def of(self, plane: Plane) -> Plane:
        """Return the part of a plane inside the window, as a view."""
        return plane[self.rows, self.columns]


def _pixel(coordinate: float) -> int:
    return min(max(int((coordinate + 1) * SIZE / 2), 0), SIZE)


def ellipse(
    centre: Point, radius_x: float, radius_y: float, softness: float, slant: float = 0.0
) -> tuple[Window, Plane]:
    """Return the window of a soft ellipse and its coverage of each pixel in the window.

    Args:
        centre: The centre.
        radius_x: Half the width.
        radius_y: Half the height.
        softness: Width of the edge as a fraction of the radius.
        slant: Shift of x for each unit of y.
    """
    reach = 1 + softness
    half_width = reach * (radius_x + abs(slant) * radius_y)
    window = Window.around(centre, half_width, reach * radius_y)
    y = window.y - centre[1]
    x = window.x - centre[0] - slant * y
    radius = np.sqrt((x * (1 / radius_x)) ** 2 + (y * (1 / radius_y)) ** 2)
    return window, ramp(1 - radius, softness)


def cover(plane: Plane, window: Window, alpha: Plane) -> None:
    """Composite a translucent shape onto an opacity plane, in place."""
    part = window.of(plane)
    part += alpha * (1 - part)


def texture(rng: np.random.Generator, grain: float) -> Plane:
    """Draw a random field of mean 0 and standard deviation 1; ``grain`` is its scale in pixels."""
    fields = _textures(grain)
    chosen = fields[int(rng.integers(len(fields)))]
    down, across = (int(shift) for shift in rng.integers(SIZE, size=2))
    if rng.random() < 0.5:  # noqa: PLR2004 - a fair coin
        chosen = chosen[:, ::-1]
    return np.roll(chosen, (down, across), (0, 1))


@cache
def _textures(grain: float) -> Plane:
    rng = np.random.Generator(np.random.PCG64([_TEXTURE_SEED, round(100 * grain)]))
    frequency = np.fft.fftfreq(SIZE)
    squared = frequency[:, None] ** 2 + frequency[None, :] ** 2
    lowpass = np.exp(-2 * (np.pi * grain) ** 2 * squared)
    noise = np.fft.fft2(rng.standard_normal((_TEXTURES, SIZE, SIZE)))
    fields = np.fft.ifft2(noise * lowpass).real
    fields -= fields.mean((1, 2), keepdims=True)
    fields /= fields.std((1, 2), keepdims=True)
    return fields.astype(np.float32)


class Sketch:
    """Anti-aliased line drawing, oversampled and reduced; brightness is 0 to 1."""

    def __init__(self) -> None:
        side = SIZE * _OVERSAMPLING
        self._image = Image.new("L", (side, side))
        self._draw = ImageDraw.Draw(self._image)

    def line(self, points: Sequence[Point], width: float, brightness: float) -> None:
        """Draw a polyline; ``width`` is in pixels of the canvas."""
        self._draw.line(
            [self._at(point) for point in points],
            fill=round(255 * brightness),
            width=max(round(width * _OVERSAMPLING), 1),
            joint="curve",
        )

    def box(self, centre: Point, half: Point, brightness: float) -> None:
        """Draw a filled box with rounded corners."""
        radius = 0.5 * min(half) * SIZE * _OVERSAMPLING / 2
        self._draw.rounded_rectangle(
            self._bounds(centre, half), radius, fill=round(255 * brightness)
        )

    def ring(self, centre: Point, half: Point, width: float, brightness: float) -> None:
        """Draw the outline of an ellipse; ``width`` is in pixels of the canvas."""
        self._draw.ellipse(
            self._bounds(centre, half),
            outline=round(255 * brightness),
            width=max(round(width * _OVERSAMPLING), 1),
        )

    def plane(self) -> Plane:
        """Return the drawing, float32 ``[SIZE, SIZE]``."""
        return np.asarray(self._image.reduce(_OVERSAMPLING), dtype=np.float32) * (1 / 255)

    def _at(self, point: Point) -> Point:
        scale = SIZE * _OVERSAMPLING / 2
        return (point[0] + 1) * scale, (point[1] + 1) * scale

    def _bounds(self, centre: Point, half: Point) -> list[float]:
        (x, y), (dx, dy) = centre, half
        return [*self._at((x - dx, y - dy)), *self._at((x + dx, y + dy))]


def spline(points: Sequence[Point], steps: int = 6) -> list[Point]:
    """Return a smooth curve through the points (Catmull-Rom), as tubes and wires do not kink."""
    path = np.asarray([points[0], *points, points[-1]], dtype=np.float64)
    before, start, end, after = path[:-3], path[1:-2], path[2:-1], path[3:]
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    bent = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    smooth = bent.transpose(1, 0, 2).reshape(-1, 2)
    return [(float(x), float(y)) for x, y in smooth] + [points[-1]]
