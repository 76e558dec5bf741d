"""Map stored DICOM values to display grey levels, as defined in PS3.3 of the standard.

Every possible stored value is mapped once, in float64, into a lookup table for the pixels. The
table of 65,536 entries is exact and faster than arithmetic on five million pixels.

1. Modality (C.11.1): the modality LUT, otherwise ``RescaleSlope`` and ``RescaleIntercept``.
2. Values of interest (C.11.2): the first VOI LUT; otherwise the first window, with the
   function ``LINEAR`` (the default), ``LINEAR_EXACT`` or ``SIGMOID``; otherwise the lowest and
   highest value of the image. Only in this last case, pixels of ``PixelPaddingValue`` (to
   ``PixelPaddingRangeLimit``) are ignored; they are clipped to the range of the others.
3. Inversion, for ``MONOCHROME1`` or a ``PresentationLUTShape`` of ``INVERSE``. Both mean the
   same (C.8.11.3), so together they invert once.
4. Rounding to the nearest of 256 grey levels, half to even. An image with a single value and
   neither VOI LUT nor window is black, or white if inverted.

For an enhanced image with one frame, an attribute that the image lacks is read from the
functional groups.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustness.evalset.images import Image
from robustness.evalset.images.limits import Refused

if TYPE_CHECKING:
    from pydicom import Dataset

Values = NDArray[np.float64]

WHITE = 255
_ENTRIES = 2**16
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_MACROS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")


def render(words: NDArray[Any], stored: NDArray[np.int64], dataset: Dataset) -> Image:
    """Return the image as displayed.

    Args:
        words: The stored words, uint8 or uint16 ``[height, width]``.
        stored: The pixel value of every possible word, int64 ``[256]`` or ``[65536]``.
        dataset: The attributes of the file.

    Returns:
        uint8 ``[height, width]``.

    Raises:
        Refused: A display attribute is invalid.
    """
    modules = tuple(_modules(dataset))
    values = _apply_modality(stored.astype(np.float64), modules)
    grey = _apply_voi(values, modules)
    if grey is None:
        grey = _stretch(values, _occurring(words, stored, dataset))
    if dataset.PhotometricInterpretation == "MONOCHROME1" or (
        dataset.get("PresentationLUTShape") == "INVERSE"
    ):
        grey = WHITE - grey
    table = np.rint(grey).astype(np.uint8)
    image: Image = np.take(table, words)
    return image


def palette(stored: NDArray[np.int64], dataset: Dataset) -> NDArray[np.uint8]:
    """Return the palette colour of every possible word (PS3.3 C.7.6.3.1.5).

    Args:
        stored: The pixel value of every possible word, int64 ``[256]`` or ``[65536]``.
        dataset: The attributes of the file.

    Returns:
        RGB, uint8 ``[256, 3]`` or ``[65536, 3]``.

    Raises:
        Refused: A lookup table is missing or invalid.
    """
    little = dataset.original_encoding[1] is not False
    colours = []
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        descriptor, data = dataset.get(f"{name}Descriptor"), dataset.get(f"{name}Data")
        values = stored.astype(np.float64)
        table = _table(values, descriptor, data, little=little, what=f"{name}")
        colours.append(np.rint(table.entries * WHITE / (2**table.bits - 1)).astype(np.uint8))
    return np.stack(colours, axis=-1)


def _modules(dataset: Dataset) -> Iterator[Dataset]:
    yield dataset
    for groups in _GROUPS:
        for group in (dataset.get(groups) or [])[:1]:
            for macro in _MACROS:
                yield from (group.get(macro) or [])[:1]


def _first(modules: tuple[Dataset, ...], keyword: str) -> Any:
    """Return the first value of an attribute, from the first module that has it."""
    for module in modules:
        value = module.get(keyword)
        if value is not None and value != "":
            multiple = not isinstance(value, str) and hasattr(value, "__len__")
            if not multiple:
                return value
            if len(value):
                return value[0]
    return None


def _number(modules: tuple[Dataset, ...], keyword: str) -> float | None:
    value = _first(modules, keyword)
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number):
        raise Refused(f"its {keyword} is {value}; allowed are finite numbers")
    return number


def _apply_modality(values: Values, modules: tuple[Dataset, ...]) -> Values:
    item = _first(modules, "ModalityLUTSequence")
    if item is not None:
        return _look_up(values, item, "modality LUT").entries
    slope, intercept = _number(modules, "RescaleSlope"), _number(modules, "RescaleIntercept")
    if slope == 0:
        raise Refused("its RescaleSlope is 0, which maps all values to one")
    return values * (1.0 if slope is None else slope) + (intercept or 0.0)


def _apply_voi(values: Values, modules: tuple[Dataset, ...]) -> Values | None:
    """Return grey levels 0 to 255 by VOI LUT or window; None if the file has neither."""
    item = _first(modules, "VOILUTSequence")
    if item is not None:
        table = _look_up(values, item, "VOI LUT")
        return np.asarray(table.entries * WHITE / (2**table.bits - 1))
    center, width = _number(modules, "WindowCenter"), _number(modules, "WindowWidth")
    if center is None and width is None:
        return None
    if center is None or width is None:
        raise Refused("it has one of WindowCenter and WindowWidth; a window needs both")
    function = str(_first(modules, "VOILUTFunction") or "LINEAR").strip().upper()
    return _apply_window(values, center, width, function)


def _apply_window(values: Values, center: float, width: float, function: str) -> Values:
    if function not in {"LINEAR", "LINEAR_EXACT", "SIGMOID"}:
        raise Refused(
            f"its VOILUTFunction is {function!r}; allowed are LINEAR, LINEAR_EXACT, SIGMOID"
        )
    if width < 1 if function == "LINEAR" else width <= 0:
        minimum = "from 1" if function == "LINEAR" else "above 0"
        raise Refused(f"its WindowWidth is {width:g}; {function} allows numbers {minimum}")
    if function == "SIGMOID":
        # Above 700 the exponential overflows; the result is 0 in float64 anyway.
        power = np.minimum(-4 * (values - center) / width, 700)
        return np.asarray(WHITE / (1 + np.exp(power)))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width == 0:
        return np.where(values <= center, 0.0, float(WHITE))
    return np.clip(((values - center) / width + 0.5) * WHITE, 0, WHITE)


class _Table(NamedTuple):
    """Looked-up table entries of the values, and the bits per entry."""

    entries: Values
    bits: int


def _look_up(values: Values, item: Dataset, what: str) -> _Table:
    implicit, little = item.original_encoding
    descriptor = item.get("LUTDescriptor")
    if implicit and descriptor is not None and len(descriptor) == 3:  # noqa: PLR2004
        # Implicit VR does not record the sign of the first value: signed if values can be.
        first = int(descriptor[1]) % _ENTRIES
        signed = values.min() < 0 and first >= _ENTRIES // 2
        descriptor = [descriptor[0], first - _ENTRIES if signed else first, descriptor[2]]
    return _table(values, descriptor, item.get("LUTData"), little=little is not False, what=what)


def _table(values: Values, descriptor: Any, data: Any, *, little: bool, what: str) -> _Table:
    if descriptor is None or len(descriptor) != 3 or data is None:  # noqa: PLR2004
        raise Refused(f"its {what} has no descriptor of three values, or no data")
    count, first, bits = (int(number) for number in descriptor)
    # Signed pixels imply a signed descriptor, although two of its numbers are counts.
    count, bits = count % _ENTRIES or _ENTRIES, bits % _ENTRIES
    if not 1 <= bits <= 16:  # noqa: PLR2004
        raise Refused(f"the entries of its {what} have {bits} bits; allowed are 1 to 16")
    entries = _entries(data, count, bits, little=little)
    if len(entries) < count or entries[:count].max() >= 2**bits:
        raise Refused(f"its {what} does not contain {count} entries of {bits} bits")
    index = np.clip(np.rint(values) - first, 0, count - 1).astype(np.int64)
    return _Table(entries[index].astype(np.float64), bits)


def _entries(data: Any, count: int, bits: int, *, little: bool) -> NDArray[np.int64]:
    if isinstance(data, bytes):
        if bits <= 8 and len(data) in {count, count + 1}:  # noqa: PLR2004 - two entries per word
            pairs = np.frombuffer(data[: len(data) // 2 * 2] if not little else data, np.uint8)
            return (pairs if little else pairs.reshape(-1, 2)[:, ::-1].ravel()).astype(np.int64)
        return np.frombuffer(data[: len(data) // 2 * 2], "<u2" if little else ">u2").astype(
            np.int64
        )
    return np.atleast_1d(np.asarray(data, dtype=np.int64)) % _ENTRIES


def _occurring(
    words: NDArray[Any], stored: NDArray[np.int64], dataset: Dataset
) -> NDArray[np.bool_]:
    """Return a mask of the words that occur in the image, without padding."""
    occurs = np.zeros(len(stored), dtype=np.bool_)
    occurs[words] = True
    padding = _number((dataset,), "PixelPaddingValue")
    if padding is None:
        return occurs
    limit = _number((dataset,), "PixelPaddingRangeLimit")
    low, high = sorted((padding, padding if limit is None else limit))
    occurs &= (stored < low) | (stored > high)
    return occurs


def _stretch(values: Values, occurs: NDArray[np.bool_]) -> Values:
    low, high = (values[occurs].min(), values[occurs].max()) if occurs.any() else (0.0, 0.0)
    if low == high:
        return np.zeros_like(values)
    return np.asarray(np.clip((values - low) * WHITE / (high - low), 0, WHITE))
