"""``evalset``: what an evaluation set holds, in words, as JSON, as a contact sheet.

With ``--decode``, also which of its images cannot be decoded.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from robustness import evalset
from robustness.commands._description import fit, text
from robustness.commands._terminal import Terminal, saying
from robustness.errors import GateError, StoreError, UsageError
from robustness.evalset import EvaluationSet, Remember
from robustness.evalset._base import forget

STORE = Path(".robustness/store")
IMAGES = 24
WIDEST = 100
"""Columns of the text at most, and where it does not go to a terminal."""

NARROWEST = 60


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the subparsers of ``python -m robustness``."""
    parser = commands.add_parser(
        "evalset",
        help="what an evaluation set holds: studies, views, exclusions, reports, labels",
        description="Describes an evaluation set; images are decoded only with --decode, to be"
        " drawn, or where nothing but the image tells its view.",
        epilog="SPEC is one of\n"
        + "".join(f"  {form}\n" for form in evalset.KINDS.values())
        + "and may end in options, such as open_i:DIR,view=all",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("spec", metavar="SPEC", help="the evaluation set; see below")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument(
        "--decode",
        action="store_true",
        help="decodes every image and lists those that cannot be; exit status 1 if there are any",
    )
    parser.add_argument(
        "--contact-sheet", type=Path, metavar="FILE", help="draws images on a page: .png or .jpg"
    )
    parser.add_argument(
        "--images",
        type=int,
        metavar="N",
        help=f"images of the contact sheet at most, evenly spread (default: {IMAGES})",
    )
    parser.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help="where the views that images were asked for are kept (default:"
        f" {STORE} where that folder is there, else nowhere)",
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Prints the description and draws the contact sheet; returns the exit status.

    Raises:
        UsageError: The specification or an option is wrong; nothing was read.
        GateError: The set cannot be read, or the contact sheet not be drawn or written.
    """
    from robustness.evalset._describe import describe

    evalset.check_spec(given.spec)
    _check(given.contact_sheet, given.images)
    with saying(f"reading {fit(given.spec, WIDEST)}"):
        loaded = _load(given.spec, given.store)
        described = describe(loaded)
    broken = _decode(loaded) if given.decode else {}
    if given.decode:
        described["not_decoded"] = broken
    if given.contact_sheet is not None and broken:
        sys.stderr.write(f"contact sheet {given.contact_sheet} is not drawn: see the images\n")
    elif given.contact_sheet is not None:
        _draw(loaded, given.contact_sheet, given.images or IMAGES)
    if given.json:
        sys.stdout.write(json.dumps(described, indent=2) + "\n")
        return 1 if broken else 0
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDEST
    lines = text(described, max(NARROWEST, min(WIDEST, width)))
    if given.decode:
        # The reasons are not cut to the width: they name the file, and end in what is wrong.
        lines += ["", f"images that cannot be decoded: {len(broken) or 'none'} of {len(loaded)}"]
        lines += [f"  {reason}" for reason in broken.values()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if broken else 0


def _check(sheet: Path | None, images: int | None) -> None:
    """Sees that a contact sheet can be drawn, before what takes long is begun."""
    from robustness.evalset._sheet import FORMATS, MOST_IMAGES

    if images is not None and not 1 <= images <= MOST_IMAGES:
        raise UsageError(f"--images is {images}; allowed is 1 to {MOST_IMAGES}")
    if sheet is None:
        if images is not None:
            raise UsageError("--images is of a contact sheet; name its file with --contact-sheet")
        return
    where = f"contact sheet {sheet}"
    if sheet.is_dir():
        raise UsageError(f"{where} is a folder; name a file in it, such as {sheet / 'sheet.png'}")
    if sheet.suffix.lower() not in FORMATS:
        raise UsageError(
            f"{where}: the suffix is {sheet.suffix!r}; allowed are {', '.join(FORMATS)}"
        )
    if not sheet.parent.is_dir():
        raise UsageError(f"{where}: no folder {sheet.parent}; make it, or name another")
    if not os.access(sheet.parent, os.W_OK):
        raise UsageError(f"{where}: folder {sheet.parent} cannot be written to; name another")


def _load(spec: str, store: Path | None) -> EvaluationSet:
    try:
        return evalset.load(spec, remember=_remember(store))
    except StoreError as error:
        # The gate's option is called otherwise.
        said = str(error).replace("--robustness-store", "--store")
        raise StoreError(said, error.code) from error


def _remember(store: Path | None) -> Remember:
    from robustness.embedding import Store

    if store is not None:
        return Store(store).fetch
    # To describe a set is no reason to make a folder where somebody happens to stand.
    return Store(STORE).fetch if os.access(STORE, os.W_OK) else forget


def _decode(loaded: EvaluationSet) -> dict[str, str]:
    from robustness.evalset._decodable import undecodable
    from robustness.progress import progress

    with progress(len(loaded), "decoding", "images", Terminal()) as advance:
        return undecodable(loaded, advance)


def _draw(loaded: EvaluationSet, file: Path, count: int) -> None:
    from robustness.evalset._sheet import contact_sheet, encode
    from robustness.files import write_whole
    from robustness.progress import progress

    count = min(count, len(loaded))
    with progress(count, "drawing", "images", Terminal()) as advance:
        page = contact_sheet(loaded, count, advance)
    try:
        write_whole(file, encode(page, file.suffix.lower()))
    except OSError as error:
        raise GateError(f"contact sheet {file} cannot be written: {error.strerror}") from error
