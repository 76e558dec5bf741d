"""Check the partition declared by a JPEG 2000 codestream (ISO/IEC 15444-1, annex A).

Threat: an untrusted file can exhaust the memory of the process. OpenJPEG allocates the whole
partition of an image (tiles, precincts, code blocks, layers) before it decodes any data, so a
file of 400 bytes can make it allocate gigabytes, even if the image itself is small. The pixel
limit (:mod:`robustness.evalset.images.limits`) does not cover this. Each guard bounds one part:

- :data:`MAX_TILES`, :data:`MAX_PRECINCTS`, :data:`MAX_BLOCKS` and :data:`MAX_PACKETS` bound the
  memory of the partition.
- The number of header segments is bounded, since parsing them takes time.
- Unknown markers in a header are refused: OpenJPEG resynchronises after them by its own rules,
  so it could read a coding style that was not checked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from robustness.evalset.images.limits import Refused

MAX_TILES = 4096
MAX_PRECINCTS = 2**15
MAX_BLOCKS = 2**20
MAX_PACKETS = 2**22
"""Limits per image. Per component, an image of 8192 x 8192 pixels has 5,500 precincts of side 128
or 350,000 blocks of side 16; packets are precincts times layers."""

_MAX_SEGMENTS = 2**16
_MAX_LEVELS = 32

_CODING, _CODING_OF_COMPONENT = 0xFF52, 0xFF53
_START_OF_TILE_PART, _START_OF_DATA, _END = 0xFF90, 0xFF93, 0xFFD9
_HEADER_MARKERS = frozenset({_START_OF_TILE_PART, _START_OF_DATA, 0xFF55, 0xFF63, 0xFF64}).union(
    range(0xFF50, 0xFF54), range(0xFF57, 0xFF5A), range(0xFF5C, 0xFF62), range(0xFF74, 0xFF79)
)
"""Markers allowed in headers; after others OpenJPEG searches for the next marker."""


class _Style(NamedTuple):
    """Coding style: layers, levels, and exponents (base 2) of block and precinct sizes."""

    layers: int
    levels: int
    block: tuple[int, int]
    precincts: list[tuple[int, int]]


def check_partition(data: bytes, size: tuple[int, int], components: int) -> None:
    """Raise if the partition of a codestream, whose size segment is complete, is too fine.

    Raises:
        Refused: The partition exceeds a limit, or a header is damaged.
    """
    end, tile, origin = ((u32(data, n), u32(data, n + 4)) for n in (8, 24, 32))
    tiles = 0
    if all(tile):
        # OpenJPEG counts tiles from the grid origin, even if the image starts far from it.
        tiles = -((origin[0] - end[0]) // tile[0]) * -((origin[1] - end[1]) // tile[1])
    if not 1 <= tiles <= MAX_TILES:
        raise Refused(f"its JPEG 2000 codestream has more than {MAX_TILES} tiles, or none")
    tile_size = (min(size[0], tile[0]), min(size[1], tile[1]))
    layers = 1
    for style in _styles(data):
        layers = max(layers, style.layers)
        precincts, blocks = (components * tiles * count for count in _partition(tile_size, style))
        if precincts > MAX_PRECINCTS or blocks > MAX_BLOCKS or precincts * layers > MAX_PACKETS:
            raise Refused(
                f"its JPEG 2000 codestream has {precincts} precincts, {blocks} blocks and"
                f" {layers} layers, as in a decompression bomb"
            )


def _partition(size: tuple[int, int], style: _Style) -> tuple[int, int]:
    """Return the number of precincts and blocks of one component of one tile."""
    precincts = blocks = 0
    for resolution in range(style.levels + 1):
        half = style.levels - resolution
        area = [max(-(-side >> half), 1) if half else side for side in size]
        precinct = style.precincts[resolution]
        precincts += _grid_cells(area, precinct)
        # Above the lowest resolution, bands and their precincts have half the size.
        halved = precinct if not resolution else (max(precinct[0] - 1, 0), max(precinct[1] - 1, 0))
        block = (min(style.block[0], halved[0]), min(style.block[1], halved[1]))
        band = area if not resolution else [-(-side // 2) for side in area]
        blocks += _grid_cells(band, block) * (3 if resolution else 1)
    return precincts, blocks


def _grid_cells(area: list[int], exponents: tuple[int, int]) -> int:
    width, height = (-(-side >> exponent) for side, exponent in zip(area, exponents, strict=True))
    return width * height


def _styles(data: bytes) -> Iterator[_Style]:
    """Yield the coding styles of the main header and of the tile headers."""
    at, part = 2, (0, 0)
    for _ in range(_MAX_SEGMENTS):
        marker, length = u16(data, at), u16(data, at + 2)
        if at + 2 > len(data) or marker == _END:
            return
        if marker not in _HEADER_MARKERS:
            raise Refused(f"its JPEG 2000 codestream has the marker {marker:04X} in a header")
        if marker == _START_OF_DATA:
            if not part[1]:  # length 0: this tile part extends to the end of the codestream
                return
            at = max(sum(part), at + 2)
            continue
        if marker == _START_OF_TILE_PART:
            part = (at, u32(data, at + 6))
        if marker == _CODING:
            yield _style(_u8(data, at + 4), u16(data, at + 6), data[at + 9 : at + 2 + length])
        if marker == _CODING_OF_COMPONENT:
            yield _style(_u8(data, at + 5), 0, data[at + 6 : at + 2 + length])
        at += 2 + max(length, 2)
    raise Refused(f"its JPEG 2000 codestream has more than {_MAX_SEGMENTS} segments")


def _style(flags: int, layers: int, parameters: bytes) -> _Style:
    levels = parameters[0] if parameters else 0
    sizes = parameters[5 : 6 + levels] if flags & 1 else b"\xff" * (levels + 1)
    if len(parameters) < 5 or len(sizes) <= levels or levels > _MAX_LEVELS:  # noqa: PLR2004
        raise Refused("its JPEG 2000 codestream has a damaged coding style")
    precincts = [(power & 15, power >> 4) for power in sizes]
    return _Style(layers, levels, (parameters[1] + 2, parameters[2] + 2), precincts)


def _u8(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 1], "big")


def u16(data: bytes, at: int) -> int:
    """Return a big-endian number of 16 bits."""
    return int.from_bytes(data[at : at + 2], "big")


def u32(data: bytes, at: int) -> int:
    """Return a big-endian number of 32 bits."""
    return int.from_bytes(data[at : at + 4], "big")
