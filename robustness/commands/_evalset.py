"""``evalset``: what an evaluation set holds, in words, as JSON, as a contact sheet."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robustness import evalset
from robustness.commands._terminal import Terminal, saying
from robustness.errors import GateError, StoreError, UsageError
from robustness.evalset import EvaluationSet, Remember
from robustness.evalset._base import forget

STORE = Path(".robustness/store")
IMAGES = 24
WIDEST = 100
"""Columns of the text at most, and where it does not go to a terminal."""

NARROWEST = 60
MOST_LABELS = 20


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the subparsers of ``python -m robustness``."""
    parser = commands.add_parser(
        "evalset",
        help="what an evaluation set holds: studies, views, exclusions, reports, labels",
        description="Describes an evaluation set; images are decoded only to be drawn, or where"
        " nothing but the image tells its view.",
        epilog="SPEC is one of\n"
        + "".join(f"  {form}\n" for form in evalset.KINDS.values())
        + "and may end in options, such as open_i:DIR,view=all",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("spec", metavar="SPEC", help="the evaluation set; see below")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
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
    if given.contact_sheet is not None:
        _draw(loaded, given.contact_sheet, given.images or IMAGES)
    if given.json:
        sys.stdout.write(json.dumps(described, indent=2) + "\n")
        return 0
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDEST
    lines = text(described, max(NARROWEST, min(WIDEST, width)))
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


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


def text(described: dict[str, Any], width: int) -> list[str]:
    """The description as a person reads it.

    Args:
        described: What :func:`robustness.evalset._describe.describe` found.
        width: Columns at most.

    Returns:
        The lines: blocks of aligned columns, numbers to the right.
    """
    blocks = [_heading(described), _views(described), _excluded(described)]
    blocks += [_reports(described), _frequent(described), _lengths(described), _labels(described)]
    lines: list[str] = []
    for block in blocks:
        lines += [*([""] if lines else []), *table(block, width)]
    return lines


Row = Sequence[str]


def _heading(d: dict[str, Any]) -> list[Row]:
    return [
        (f"evaluation set {d['spec']}",),
        (f"fingerprint {d['fingerprint']}",),
        *((name, str(d[name])) for name in ("studies", "images", "patients")),
    ]


def _views(d: dict[str, Any]) -> list[Row]:
    rows = [(f"  {view or '(not stated)'}", str(count)) for view, count in d["views"].items()]
    return [("views", "images"), *rows]


def _excluded(d: dict[str, Any]) -> list[Row]:
    rows = [(f"  {reason}", str(count)) for reason, count in d["excluded"].items()]
    return [("excluded", "items"), *rows] if rows else [("excluded: nothing",)]


def _reports(d: dict[str, Any]) -> list[Row]:
    repeated = d["repeated_reports"]
    return [
        ("reports, by findings and impression", str(d["reports"]), "share"),
        ("  distinct texts", str(d["distinct_texts"]), _share(d["distinct_texts"], d["reports"])),
        ("  same text as another study's", str(repeated), _share(repeated, d["reports"])),
    ]


def _frequent(d: dict[str, Any]) -> list[Row]:
    rows = [
        (f"  {each['text'] or '(empty)'}", str(each["reports"])) for each in d["frequent_texts"]
    ]
    return [("most frequent texts", "reports"), *rows] if rows else [("no text repeats",)]


def _lengths(d: dict[str, Any]) -> list[Row]:
    rows = [
        (
            f"  {name.replace('+', ' and ')}",
            *(_number(each[key]) for key in ("reports", "min", "median", "mean", "p95", "max")),
        )
        for name, each in d["length"].items()
    ]
    return [("words", "reports", "min", "median", "mean", "95 %", "max"), *rows]


def _labels(d: dict[str, Any]) -> list[Row]:
    if not d["labelled"]:
        return [("labels: this set has none",)]
    of = d["labelled"]
    shown = list(d["labels"].items())[:MOST_LABELS]
    rows = [(f"  {name}", str(e["count"]), _share(e["count"], of)) for name, e in shown]
    more = len(d["labels"]) - len(shown)
    rest = [(f"  and {more} more names, rarer; --json lists all",)] if more else []
    return [
        ("labels", "images", "share"),
        *rows,
        *rest,
        ("labelled", str(of), ""),
        ("  with nothing named", str(d["without_findings"]), _share(d["without_findings"], of)),
        ("  different label sets", str(d["label_sets"]), ""),
        ("not labelled", str(d["without_labels"]), ""),
    ]


def _share(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.1f}"


def table(rows: Sequence[Row], width: int) -> list[str]:
    """Columns lined up, the first to the left and cut where need be, the others to the right.

    Args:
        rows: Cells; a row of one cell is not a part of the columns.
        width: Columns of a line at most.
    """
    full = [row for row in rows if len(row) > 1]
    numbers = [max(map(columns, cells)) for cells in zip(*(r[1:] for r in full), strict=True)]
    room = width - sum(numbers) - 2 * len(numbers)
    first = min(room, max((columns(row[0]) for row in full), default=0))
    lines = []
    for row in rows:
        if len(row) == 1:
            lines.append(fit(row[0], width))
            continue
        name = fit(row[0], first)
        cells = (f"  {cell:>{size}}" for cell, size in zip(row[1:], numbers, strict=True))
        lines.append((name + " " * (first - columns(name)) + "".join(cells)).rstrip())
    return lines


def fit(line: str, width: int) -> str:
    """A line of at most so many columns; what would move the cursor is replaced."""
    line = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line
    )
    if columns(line) <= width:
        return line
    line = line[: 2 * width]  # letters that take no column are few
    while columns(line) > width - 1:
        line = line[:-1]
    return line.rstrip(" ,.;:") + "…"


def columns(line: str) -> int:
    """Columns of a terminal that a line takes: East Asian letters two, accents on others none."""
    wide = sum(unicodedata.east_asian_width(letter) in {"F", "W"} for letter in line)
    return len(line) + wide - sum(unicodedata.combining(letter) > 0 for letter in line)
