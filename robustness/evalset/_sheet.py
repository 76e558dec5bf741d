"""A contact sheet: some of a set's images on one page, each with what is known of it."""

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

from robustness.errors import GateError
from robustness.evalset._base import BODY, EvaluationSet, Pair
from robustness.wording import counted

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""File formats by suffix."""

MOST_IMAGES = 400

THUMBNAIL = 240
"""Pixels of a thumbnail's longer side."""

MARGIN, GAP = 32, 24
HEADER = 84
TEXT, LINE = 8, 18
"""Pixels from an image to the text beneath it, and from one line to the next."""

LINES, LABEL_LINES = 8, 2
"""Lines beneath an image, and how many of them its labels may take."""

FEWEST_COLUMNS = 4
"""The page is at least so wide, or its heading would be cut."""

PAGE, FRAME = "#16181c", "#30353d"
BRIGHT, MIDDLE, DIM, ACCENT = "#f2f4f7", "#c5cad3", "#8d95a3", "#6cc3d5"

SPELLED = str.maketrans(
    {"ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "æ": "ae", "Æ": "Ae", "œ": "oe"}
    | {"×": "x", "⁄": "/"}  # noqa: RUF001
    | dict.fromkeys("–—−‐‑", "-")  # noqa: RUF001
    | dict.fromkeys("‘’‚", "'")  # noqa: RUF001
    | dict.fromkeys("“”„", '"')
)
"""What the font has no letter for, and that taking accents away does not mend."""


class Font(Protocol):
    """What tells how wide a text is drawn."""

    def getlength(self, text: str, /) -> float:
        """Pixels from the text's beginning to where the next would begin."""
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
                "a contact sheet needs Pillow with FreeType, and Pillow here has none; install"
                " Pillow's own wheel with pip"
            ) from error
        return cls(*(font for font in fonts if isinstance(font, ImageFont.FreeTypeFont)))


@dataclass(frozen=True, slots=True)
class Grid:
    """Where everything stands on a page of ``count`` images."""

    count: int

    @property
    def columns(self) -> int:
        """Images a row, so that the page is a little wider than it is high."""
        return min(self.count, max(FEWEST_COLUMNS, math.ceil(math.sqrt(1.5 * self.count))))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the page in pixels."""
        columns, rows = max(self.columns, FEWEST_COLUMNS), -(-self.count // self.columns)
        across, down = self._pitch
        return 2 * MARGIN + columns * across - GAP, HEADER + rows * down - GAP + MARGIN

    @property
    def _pitch(self) -> tuple[int, int]:
        return THUMBNAIL + GAP, THUMBNAIL + TEXT + LINES * LINE + GAP

    def corner(self, place: int) -> tuple[int, int]:
        """Left and top of the square that holds the image at a place, from 0."""
        row, column = divmod(place, self.columns)
        across, down = self._pitch
        return MARGIN + column * across, HEADER + row * down

    def box(self, place: int, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of a thumbnail of that size, in the middle of its square."""
        left, top = self.corner(place)
        x, y = left + (THUMBNAIL - width) // 2, top + (THUMBNAIL - height) // 2
        return x, y, x + width, y + height


def spread(total: int, count: int) -> list[int]:
    """At most ``count`` of the indexes below ``total``, evenly spread, the first being 0.

    Args:
        total: How many there are.
        count: How many are wanted, from 1.
    """
    count = min(total, count)
    return [place * total // count for place in range(count)]


def contact_sheet(
    evalset: EvaluationSet, count: int, advance: Callable[[int], object] = lambda _done: None
) -> PilImage.Image:
    """Draws some of a set's images on one page, evenly spread over the set.

    Beneath each stand its id, view and decoded size, its labels, and how its report begins.

    Args:
        evalset: The set; its ``decode`` is called from several threads.
        count: Images at most, from 1 to :data:`MOST_IMAGES`.
        advance: Told of every image that is decoded.

    Returns:
        The page, RGB.

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
        for place, (image, size) in enumerate(pool.map(lambda p: _thumbnail(evalset, p), pairs)):
            left, top = grid.corner(place)
            box = grid.box(place, *image.size)
            page.paste(image, box[:2])
            draw.rectangle((box[0] - 1, box[1] - 1, box[2], box[3]), outline=FRAME)
            lines = _caption(pairs[place], size, fonts, labelled=labelled)
            for row, (text, colour) in enumerate(lines):
                at = (left, top + THUMBNAIL + TEXT + row * LINE)
                draw.text(at, text, colour, fonts.strong if row == 0 else fonts.plain)
            advance(1)
    return page


def encode(page: PilImage.Image, suffix: str) -> bytes:
    """The content of an image file.

    Args:
        page: What it shows.
        suffix: One of :data:`FORMATS`.
    """
    file = io.BytesIO()
    page.save(file, FORMATS[suffix], quality=92)
    return file.getvalue()


def drawable(text: str) -> str:
    """A text in the letters that Pillow's own font has: ASCII and few others.

    Accents are left out, and what has no likeness is a question mark.
    """
    apart = unicodedata.normalize("NFKD", " ".join(text.split())).translate(SPELLED)
    letters = (letter for letter in apart if not unicodedata.combining(letter))
    return "".join(c if " " <= c <= "~" or c in "·°±" else "?" for c in letters)


def cut(text: str, width: int, font: Font) -> str:
    """A text of at most so many pixels; cut between words if it can be, with an ellipsis."""
    if font.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        fits = font.getlength(text[:middle].rstrip() + "…") <= width
        low, high = (middle, high) if fits else (low, middle)
    kept = text[:low]
    if text[low] != " " and " " in kept:
        kept = kept.rpartition(" ")[0]
    return kept.rstrip(" ,.;:") + "…"


def wrap(text: str, width: int, font: Font, lines: int) -> list[str]:
    """A text in lines of at most so many pixels; the last is cut where it goes on."""
    words = text.split()
    wrapped: list[str] = []
    while words and len(wrapped) < lines - 1:
        taken = 1
        while taken < len(words) and font.getlength(" ".join(words[: taken + 1])) <= width:
            taken += 1
        wrapped.append(cut(" ".join(words[:taken]), width, font))
        words = words[taken:]
    return [*wrapped, cut(" ".join(words), width, font)] if words else wrapped


def _thumbnail(evalset: EvaluationSet, pair: Pair) -> tuple[PilImage.Image, tuple[int, int]]:
    """An image reduced or enlarged to the side of a thumbnail, and the size it had."""
    image = PilImage.fromarray(evalset.decode(pair))
    scale = THUMBNAIL / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), PilImage.Resampling.LANCZOS), image.size


def _caption(
    pair: Pair, size: tuple[int, int], fonts: _Fonts, *, labelled: bool
) -> list[tuple[str, str]]:
    """Lines of text with their colours."""
    view = f"{drawable(pair.view) or 'view not stated'} · {size[0]} x {size[1]}"
    lines = [
        (cut(drawable(pair.image_id), THUMBNAIL, fonts.strong), BRIGHT),
        (cut(view, THUMBNAIL, fonts.plain), DIM),
    ]
    if pair.labels:
        names = drawable(", ".join(sorted(pair.labels)))
        lines += [(t, ACCENT) for t in wrap(names, THUMBNAIL, fonts.plain, LABEL_LINES)]
    elif labelled:
        lines.append(("no labels" if pair.labels is None else "no finding is named", DIM))
    # More than this is never shown, and a report may be long.
    report = drawable(pair.report.text(BODY)[:1000])
    left = LINES - len(lines)
    return lines + [(text, MIDDLE) for text in wrap(report, THUMBNAIL, fonts.plain, left)]
