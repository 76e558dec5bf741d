"""``fetch``: the public collection, from its address to a folder that can be measured."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from robustness.commands._terminal import Terminal


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the subparsers of ``python -m robustness``."""
    from robustness.fetch import BASE, IMAGES

    parser = commands.add_parser(
        "fetch",
        help="downloads a public collection and unpacks it",
        description="Downloads the Indiana University chest X-ray collection (Open-i) and unpacks"
        " it into DIR. A call that was cut short goes on where it ended; where all is there,"
        " nothing is done.",
    )
    parser.add_argument("collection", choices=["open_i"], help="the collection: open_i")
    parser.add_argument("dir", type=Path, metavar="DIR", help="the folder to fill")
    parser.add_argument(
        "--images",
        choices=list(IMAGES),
        default="png",
        help="png (1.4 GB), dcm (81 GB, DICOM) or none (default: %(default)s)",
    )
    parser.add_argument(
        "--url",
        default=BASE,
        metavar="BASE",
        help="the address of the folder that holds the archives (default: %(default)s)",
    )
    parser.add_argument(
        "--keep-archives",
        action="store_true",
        help="leave the archives in DIR when they are unpacked",
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Fills the folder and prints what it holds; returns the exit status.

    Raises:
        UsageError: The folder or the address is none that can be used; nothing was done.
        GateError: The collection cannot be fetched or read; what came is kept.
    """
    from robustness.fetch import Console, Order, fetch

    order = Order(given.dir, given.images, given.url, given.keep_archives)
    try:
        lines = fetch(order, Console(_say, Terminal()))
    except KeyboardInterrupt:
        _say(f"interrupted; what came is kept in {given.dir}: call again to go on")
        raise
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
