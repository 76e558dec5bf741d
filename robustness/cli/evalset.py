"""``evalset``: describe an evaluation set as text, JSON or a contact sheet."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from robustness import evalset
from robustness._util.environment import cores
from robustness._util.text import fit
from robustness.cli.evalset_text import text
from robustness.errors import EvaluationSetError, GateError, UsageError
from robustness.evalset import EvaluationSet, Pair, Remember
from robustness.evalset._base import forget

STORE = Path(".robustness/store")
DEFAULT_IMAGES = 24
MAX_WIDTH = 100
"""Columns of the text at most, and if the output is not a terminal."""

MIN_WIDTH = 60
MAX_PENDING = 256
"""Images in the thread pool at once."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the subparsers of ``python -m robustness``."""
    parser = commands.add_parser(
        "evalset",
        help="describe an evaluation set: studies, views, exclusions, reports, labels",
        description="Describe an evaluation set: its studies, images, views and labels, the"
        " excluded items\nwith the reasons, and the repeated reports. Images are decoded only for"
        " --decode and\n--contact-sheet, and to determine the view of an image if no other source"
        " states it.",
        epilog="SPEC is one of:\n"
        + "".join(f"  {form}\n" for form in evalset.KINDS.values())
        + "Options follow after a comma, such as open_i:DIR,view=all",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("spec", metavar="SPEC", help="the evaluation set; see below")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument(
        "--decode",
        action="store_true",
        help="decode every image and list the failures; the exit status is 1 if there are any",
    )
    parser.add_argument(
        "--contact-sheet",
        type=Path,
        metavar="FILE",
        help="write a page of images with captions, as .png or .jpg",
    )
    parser.add_argument(
        "--images",
        type=int,
        metavar="N",
        help="maximum number of images on the contact sheet, evenly spread over the set"
        f" (default: {DEFAULT_IMAGES})",
    )
    parser.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help=f"folder that caches views determined from images (default: {STORE} if it exists,"
        " otherwise no cache)",
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Print the description, write the contact sheet and return the exit status.

    Raises:
        UsageError: The specification or an option is invalid; nothing was read.
        GateError: The set cannot be read, or the contact sheet cannot be drawn or written.
    """
    from robustness.cli.evalset_describe import describe

    evalset.check_spec(given.spec)
    _check(given.contact_sheet, given.images)
    with status_line(f"reading {fit(given.spec, MAX_WIDTH)}"):
        loaded = evalset.load(given.spec, remember=_cache(given.store))
        described = describe(loaded)
    broken = _decode(loaded) if given.decode else {}
    if given.decode:
        described["not_decoded"] = broken
    if given.contact_sheet is not None and broken:
        sys.stderr.write(
            f"contact sheet {given.contact_sheet} was not written: {len(broken)} images cannot be"
            " decoded\n"
        )
    elif given.contact_sheet is not None:
        _draw(loaded, given.contact_sheet, given.images or DEFAULT_IMAGES)
    if given.json:
        sys.stdout.write(json.dumps(described, indent=2) + "\n")
        return 1 if broken else 0
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else MAX_WIDTH
    lines = text(described, max(MIN_WIDTH, min(MAX_WIDTH, width)))
    if given.decode:
        # The reasons are not cut to the width: they name the file first and the cause last.
        lines += ["", f"images that cannot be decoded: {len(broken) or 'none'} of {len(loaded)}"]
        lines += [f"  {reason}" for reason in broken.values()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if broken else 0


def _check(sheet: Path | None, images: int | None) -> None:
    """Check the options of the contact sheet before any slow work."""
    from robustness.cli.contact_sheet import FORMATS, MAX_IMAGES

    if images is not None and not 1 <= images <= MAX_IMAGES:
        raise UsageError(f"--images is {images}; allowed is 1 to {MAX_IMAGES}")
    if sheet is None:
        if images is not None:
            raise UsageError("--images needs --contact-sheet; name the file with --contact-sheet")
        return
    where = f"contact sheet {sheet}"
    if sheet.is_dir():
        raise UsageError(f"{where} is a folder; name a file in it, such as {sheet / 'sheet.png'}")
    if sheet.suffix.lower() not in FORMATS:
        raise UsageError(
            f"{where}: the suffix is {sheet.suffix!r}; allowed are {', '.join(FORMATS)}"
        )
    if not sheet.parent.is_dir():
        raise UsageError(f"{where}: folder {sheet.parent} not found; create it, or name another")
    if not os.access(sheet.parent, os.W_OK):
        raise UsageError(f"{where}: folder {sheet.parent} cannot be written to; name another")


def _cache(store: Path | None) -> Remember:
    from robustness.embedding import Store

    if store is not None:
        return Store(store, option="--store").fetch
    # A description should not create a folder in the user's working folder.
    return Store(STORE, option="--store").fetch if os.access(STORE, os.W_OK) else forget


def _decode(loaded: EvaluationSet) -> dict[str, str]:
    from robustness._util.progress import progress

    with progress(len(loaded), "decoding", "images", Terminal()) as advance:
        return undecodable(loaded, advance)


def undecodable(evalset: EvaluationSet, advance: Callable[[int], object]) -> dict[str, str]:
    """Decode every image of a set on all cores, and return the failures.

    Args:
        evalset: The set; its ``decode`` is called from several threads.
        advance: Called with 1 after every image.

    Returns:
        The error message by image id, of images that cannot be decoded, in the order of the set.
    """

    def error_message(pair: Pair) -> str:
        try:
            evalset.decode(pair)
        except EvaluationSetError as error:
            return str(error)
        return ""

    failures: dict[str, str] = {}
    with ThreadPoolExecutor(cores(), thread_name_prefix="decode") as pool:
        for start in range(0, len(evalset), MAX_PENDING):
            pairs = evalset.pairs[start : start + MAX_PENDING]
            for pair, message in zip(pairs, pool.map(error_message, pairs), strict=True):
                if message:
                    failures[pair.image_id] = message
                advance(1)
    return failures


def _draw(loaded: EvaluationSet, file: Path, count: int) -> None:
    from robustness._util.files import write_whole
    from robustness._util.progress import progress
    from robustness.cli.contact_sheet import contact_sheet, encode

    count = min(count, len(loaded))
    with progress(count, "drawing", "images", Terminal()) as advance:
        page = contact_sheet(loaded, count, advance)
    try:
        write_whole(file, encode(page, file.suffix.lower()))
    except OSError as error:
        raise GateError(f"contact sheet {file} cannot be written: {error.strerror}") from error


class Terminal:
    """Standard error as the stream of a progress bar."""

    def write(self, text: str) -> None:
        """Write text."""
        sys.stderr.write(text)

    def flush(self) -> None:
        """Flush the stream."""
        sys.stderr.flush()

    def isatty(self) -> bool:
        """Return True if the stream is a terminal."""
        return sys.stderr.isatty()

    def columns(self) -> int:
        """Return the width of the terminal, even if standard output is redirected."""
        with suppress(OSError, ValueError):
            return os.get_terminal_size(sys.stderr.fileno()).columns or 80
        return 80


@contextmanager
def status_line(text: str) -> Iterator[None]:
    """Show a line during work without a progress bar, and erase it afterwards.

    Args:
        text: The line; cut to the width of the terminal.
    """
    terminal = Terminal()
    if not terminal.isatty():
        yield
        return
    line = text[: terminal.columns() - 1]
    terminal.write(line)
    terminal.flush()
    try:
        yield
    finally:
        terminal.write(f"\r{' ' * len(line)}\r")
        terminal.flush()
