"""Contact sheet: a page of images of an evaluation set, with captions."""

from __future__ import annotations

import io
import math
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from robustness._util.text import counted
from robustness.errors import GateError
from robustness.evalset._base import BODY, EvaluationSet, Pair

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""Pillow formats by file suffix."""

MAX_IMAGES = 400

THUMBNAIL = 240
"""Pixels of the longer side of a thumbnail."""

MARGIN, GAP = 32, 24
HEADER = 84
CAPTION_GAP, LINE = 8, 18
"""Pixels from an image to its caption, and from one line to the next."""

MAX_LINES, MAX_LABEL_LINES = 8, 2
"""Lines of a caption, and lines for labels among them."""

MIN_COLUMNS = 4
"""Minimum width of the page in images, so that its heading fits."""

PAGE, FRAME = "#16181c", "#30353d"
BRIGHT, MIDDLE, DIM, ACCENT = "#f2f4f7", "#c5cad3", "#8d95a3", "#6cc3d5"

SUBSTITUTES = str.maketrans(
    {"ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "æ": "ae", "Æ": "Ae", "œ": "oe"}
    | {"×": "x", "⁄": "/"}  # noqa: RUF001
    | dict.fromkeys("–—−‐‑", "-")  # noqa: RUF001
    | dict.fromkeys("‘’‚", "'")  # noqa: RUF001
    | dict.fromkeys("“”„", '"')
)
"""Replacements for letters that the font lacks, besides letters with accents."""


class Font(Protocol):
    """A font that can measure text."""

    def getlength(self, text: str, /) -> float:
        """Return the width of a text in pixels."""
        ...


@dataclass(frozen=True, slots=True)
class _Fonts:
    title: ImageFont.FreeTypeFont
    strong: ImageFont.FreeTypeFont
    plain: ImageFont.FreeTypeFont

    @classmethod
    def load(cls) -> _Fonts:
        try:
            fonts = [ImageFont.load_default(size) for size in (24, 15, 14)]
        except ImportError as error:
            raise GateError(
                "a contact sheet needs Pillow with FreeType, and this Pillow has none; install the"
                " wheel: pip install --force-reinstall pillow"
            ) from error
        return cls(*(font for font in fonts if isinstance(font, ImageFont.FreeTypeFont)))


@dataclass(frozen=True, slots=True)
class Grid:
    """Layout of a page of ``count`` images."""

    count: int

    @property
    def columns(self) -> int:
        """Images per row; the page becomes a little wider than high."""
        return min(self.count, max(MIN_COLUMNS, math.ceil(math.sqrt(1.5 * self.count))))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the page in pixels."""
        columns, rows = max(self.columns, MIN_COLUMNS), -(-self.count // self.columns)
        across, down = self._pitch
        return 2 * MARGIN + columns * across - GAP, HEADER + rows * down - GAP + MARGIN

    @property
    def _pitch(self) -> tuple[int, int]:
        return THUMBNAIL + GAP, THUMBNAIL + CAPTION_GAP + MAX_LINES * LINE + GAP

    def corner(self, index: int) -> tuple[int, int]:
        """Return left and top of the square of an image, by its index on the page."""
        row, column = divmod(index, self.columns)
        across, down = self._pitch
        return MARGIN + column * across, HEADER + row * down

    def box(self, index: int, width: int, height: int) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom of a thumbnail, centred in its square."""
        left, top = self.corner(index)
        x, y = left + (THUMBNAIL - width) // 2, top + (THUMBNAIL - height) // 2
        return x, y, x + width, y + height


def spread(total: int, count: int) -> list[int]:
    """Return up to ``count`` indexes below ``total``, evenly spread from 0.

    Example:
        >>> spread(10, 4)
        [0, 2, 5, 7]
    """
    count = min(total, count)
    return [step * total // count for step in range(count)]


def contact_sheet(
    evalset: EvaluationSet, count: int, advance: Callable[[int], object] = lambda _done: None
) -> PilImage.Image:
    """Draw images on one page, evenly spread over the set.

    A caption has the image id, view and decoded size, the labels and the start of the report.

    Args:
        evalset: The set; its ``decode`` is called from several threads.
        count: Maximum number of images, from 1 to :data:`MAX_IMAGES`.
        advance: Called with 1 after every image.

    Returns:
        The page, in RGB.

    Raises:
        EvaluationSetError: An image cannot be decoded.
        GateError: Pillow cannot draw text.
    """
    fonts = _Fonts.load()
    indexes = spread(len(evalset), count)
    grid = Grid(len(indexes))
    page = PilImage.new("RGB", grid.size, PAGE)
    draw = ImageDraw.Draw(page)
    shown = f"{len(indexes)} of {counted(len(evalset), 'image')}"
    studies = len({pair.study_id for pair in evalset.pairs})
    room = page.width - 2 * MARGIN
    about = f"{shown} · {counted(studies, 'study')} · fingerprint {evalset.fingerprint[:12]}"
    draw.text((MARGIN, 24), cut(drawable(evalset.spec), room, fonts.title), BRIGHT, fonts.title)
    draw.text((MARGIN, 54), cut(about, room, fonts.plain), DIM, fonts.plain)
    labelled = any(pair.labels is not None for pair in evalset.pairs)
    pairs = [evalset.pairs[index] for index in indexes]
    with ThreadPoolExecutor() as pool:
        for index, (image, size) in enumerate(pool.map(lambda p: _thumbnail(evalset, p), pairs)):
            left, top = grid.corner(index)
            box = grid.box(index, *image.size)
            page.paste(image, box[:2])
            draw.rectangle((box[0] - 1, box[1] - 1, box[2], box[3]), outline=FRAME)
            lines = _caption(pairs[index], size, fonts, labelled=labelled)
            for row, (text, colour) in enumerate(lines):
                at = (left, top + THUMBNAIL + CAPTION_GAP + row * LINE)
                draw.text(at, text, colour, fonts.strong if row == 0 else fonts.plain)
            advance(1)
    return page


def encode(page: PilImage.Image, suffix: str) -> bytes:
    """Encode the page as an image file; ``suffix`` is a key of :data:`FORMATS`."""
    file = io.BytesIO()
    page.save(file, FORMATS[suffix], quality=92)
    return file.getvalue()


def drawable(text: str) -> str:
    """Reduce a text to the letters of Pillow's built-in font: ASCII and a few others.

    Accents are removed; other letters become a question mark.

    Example:
        >>> drawable("Größe: 3 cm")
        'Grosse: 3 cm'
    """
    decomposed = unicodedata.normalize("NFKD", " ".join(text.split())).translate(SUBSTITUTES)
    letters = (letter for letter in decomposed if not unicodedata.combining(letter))
    return "".join(c if " " <= c <= "~" or c in "·°±" else "?" for c in letters)


def cut(text: str, width: int, font: Font) -> str:
    """Cut a text to a width in pixels, between words if possible, and add an ellipsis."""
    if font.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        fits = font.getlength(text[:middle].rstrip() + "…") <= width
        low, high = (middle, high) if fits else (low, middle)
    start = text[:low]
    if text[low] != " " and " " in start:
        start = start.rpartition(" ")[0]
    return start.rstrip(" ,.;:") + "…"


def wrap(text: str, width: int, font: Font, lines: int) -> list[str]:
    """Break a text into lines of a width in pixels; the last line is cut if needed."""
    words = text.split()
    wrapped: list[str] = []
    while words and len(wrapped) < lines - 1:
        count = 1
        while count < len(words) and font.getlength(" ".join(words[: count + 1])) <= width:
            count += 1
        wrapped.append(cut(" ".join(words[:count]), width, font))
        words = words[count:]
    return [*wrapped, cut(" ".join(words), width, font)] if words else wrapped


def _thumbnail(evalset: EvaluationSet, pair: Pair) -> tuple[PilImage.Image, tuple[int, int]]:
    """Return an image resized to a thumbnail, and its decoded size."""
    image = PilImage.fromarray(evalset.decode(pair))
    scale = THUMBNAIL / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), PilImage.Resampling.LANCZOS), image.size


def _caption(
    pair: Pair, size: tuple[int, int], fonts: _Fonts, *, labelled: bool
) -> list[tuple[str, str]]:
    """Return the lines of a caption with their colours."""
    view = f"{drawable(pair.view) or 'view not stated'} · {size[0]} x {size[1]}"
    lines = [
        (cut(drawable(pair.image_id), THUMBNAIL, fonts.strong), BRIGHT),
        (cut(view, THUMBNAIL, fonts.plain), DIM),
    ]
    if pair.labels:
        names = drawable(", ".join(sorted(pair.labels)))
        lines += [(t, ACCENT) for t in wrap(names, THUMBNAIL, fonts.plain, MAX_LABEL_LINES)]
    elif labelled:
        lines.append(("no labels" if pair.labels is None else "no findings", DIM))
    # A caption never shows more, and a report may be long.
    report = drawable(pair.report.text(BODY)[:1000])
    left = MAX_LINES - len(lines)
    return lines + [(text, MIDDLE) for text in wrap(report, THUMBNAIL, fonts.plain, left)]
