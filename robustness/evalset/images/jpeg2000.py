"""What a JPEG 2000 codestream asks its decoder to make room for (ISO/IEC 15444-1, annex A).

OpenJPEG makes its whole partition of an image (tiles, precincts, blocks, layers) before it reads
a bit of it, and a file of 400 bytes can ask for gigabytes. So its headers are walked here first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from robustness.evalset.images.limits import Refused

MAX_TILES = 4096
MAX_PRECINCTS = 2**15
MAX_BLOCKS = 2**20
MAX_PACKETS = 2**22
"""Of an image at most. One of 8192 x 8192 pixels in precincts of 128 has 5,500 a component, in
blocks of 16 it has 350,000; packets are precincts by layers."""

_MAX_SEGMENTS = 2**16
_MAX_LEVELS = 32

_CODING, _CODING_OF_COMPONENT = 0xFF52, 0xFF53
_START_OF_TILE_PART, _START_OF_DATA, _END = 0xFF90, 0xFF93, 0xFFD9
_KNOWN = frozenset({_START_OF_TILE_PART, _START_OF_DATA, 0xFF55, 0xFF63, 0xFF64}).union(
    range(0xFF50, 0xFF54), range(0xFF57, 0xFF5A), range(0xFF5C, 0xFF62), range(0xFF74, 0xFF79)
)
"""Markers of headers. Past others OpenJPEG looks for the next one by rules of its own."""


class _Style(NamedTuple):
    """A coding style: layers, and the sizes of blocks and precincts as powers of two."""

    layers: int
    levels: int
    block: tuple[int, int]
    precincts: list[tuple[int, int]]


def check_partition(data: bytes, size: tuple[int, int], components: int) -> None:
    """Refuses a codestream whose partition is too fine.

    Args:
        data: The codestream, from its first marker, with its size segment whole.
        size: Width and height.
        components: How many there are.

    Raises:
        Refused: It is, or a header is damaged.
    """
    end, tile, origin = ((_u32(data, n), _u32(data, n + 4)) for n in (8, 24, 32))
    tiles = 0
    if all(tile):
        # Counted from the grid's origin, also where the image begins far from it.
        tiles = -((origin[0] - end[0]) // tile[0]) * -((origin[1] - end[1]) // tile[1])
    if not 1 <= tiles <= MAX_TILES:
        raise Refused(f"its JPEG 2000 codestream has more than {MAX_TILES} tiles, or none")
    held = (min(size[0], tile[0]), min(size[1], tile[1]))
    layers = 1
    for style in _styles(data):
        layers = max(layers, style.layers)
        precincts, blocks = (components * tiles * count for count in _partition(held, style))
        if precincts > MAX_PRECINCTS or blocks > MAX_BLOCKS or precincts * layers > MAX_PACKETS:
            raise Refused(
                f"its JPEG 2000 codestream has {precincts} precincts, {blocks} blocks and"
                f" {layers} layers, as in a decompression bomb"
            )


def _partition(size: tuple[int, int], style: _Style) -> tuple[int, int]:
    """Precincts and blocks of a component of a tile."""
    precincts = blocks = 0
    for resolution in range(style.levels + 1):
        half = style.levels - resolution
        area = [max(-(-side >> half), 1) if half else side for side in size]
        within = style.precincts[resolution]
        precincts += _cells(area, within)
        # Of all but the lowest resolution the bands are half as large, and so are precincts.
        halved = within if not resolution else (max(within[0] - 1, 0), max(within[1] - 1, 0))
        block = (min(style.block[0], halved[0]), min(style.block[1], halved[1]))
        band = area if not resolution else [-(-side // 2) for side in area]
        blocks += _cells(band, block) * (3 if resolution else 1)
    return precincts, blocks


def _cells(area: list[int], power: tuple[int, int]) -> int:
    width, height = (-(-side >> exponent) for side, exponent in zip(area, power, strict=True))
    return width * height


def _styles(data: bytes) -> Iterator[_Style]:
    """The coding styles of the main header and of those of tiles."""
    at, part = 2, (0, 0)
    for _ in range(_MAX_SEGMENTS):
        marker, length = _u16(data, at), _u16(data, at + 2)
        if at + 2 > len(data) or marker == _END:
            return
        if marker not in _KNOWN:
            raise Refused(f"its JPEG 2000 codestream has the marker {marker:04X} in a header")
        if marker == _START_OF_DATA:
            if not part[1]:  # the last part of a tile, whose length was not known
                return
            at = max(sum(part), at + 2)
            continue
        if marker == _START_OF_TILE_PART:
            part = (at, _u32(data, at + 6))
        if marker == _CODING:
            yield _style(_u8(data, at + 4), _u16(data, at + 6), data[at + 9 : at + 2 + length])
        if marker == _CODING_OF_COMPONENT:
            yield _style(_u8(data, at + 5), 0, data[at + 6 : at + 2 + length])
        at += 2 + max(length, 2)
    raise Refused(f"its JPEG 2000 codestream has more than {_MAX_SEGMENTS} segments")


def _style(kind: int, layers: int, held: bytes) -> _Style:
    levels = held[0] if held else 0
    sizes = held[5 : 6 + levels] if kind & 1 else b"\xff" * (levels + 1)
    if len(held) < 5 or len(sizes) <= levels or levels > _MAX_LEVELS:  # noqa: PLR2004
        raise Refused("its JPEG 2000 codestream has a damaged coding style")
    precincts = [(power & 15, power >> 4) for power in sizes]
    return _Style(layers, levels, (held[1] + 2, held[2] + 2), precincts)


def _u8(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 1], "big")


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")
