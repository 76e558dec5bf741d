"""Downloading one file: what came before is kept, what breaks is tried again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPResponse
from pathlib import Path

from robustness.errors import FetchError
from robustness.fetch._console import Console, amount
from robustness.fetch._http import Transient, blocks, get, span, validator
from robustness.fetch._partial import Partial, Version

HEADWAY = 1 << 20
"""Bytes beyond what was ever reached that make tries count anew."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        timeout: Seconds for a connection, and for each piece.
        tries: How often in a row it is tried again without headway.
        first_wait: Seconds before the first of them; each next one waits twice as long.
        longest_wait: Seconds before any of them at most.
        sleep: What waits.
    """

    timeout: float = 30.0
    tries: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0
    sleep: Callable[[float], None] = time.sleep


def download(url: str, path: Path, most: int, console: Console, patience: Patience) -> None:
    """Downloads a file, going on where an earlier try or an earlier call ended.

    A part is gone on with only where the server says, by ETag or by the time of the last
    change (``If-Range``), that it still has the same file.

    Args:
        url: The file's address.
        path: What it is to be called; it appears there whole or not at all.
        most: Bytes it may have.
        console: What a person is told.
        patience: How long the server is waited for.

    Raises:
        FetchError: The server does not give the file, or gives too much; what came is kept.
        OSError: It cannot be written; what came is kept.
    """
    partial = Partial(path)
    reached = partial.size()
    failed = 0
    while True:
        try:
            _go_on(url, partial, most, console, patience)
        except Transient as error:
            if error.stale:
                partial.discard()
            size = partial.size()
            # Measured by the furthest point ever: a server that starts over each time, and
            # breaks each time, makes no headway.
            failed = 1 if size >= reached + HEADWAY else failed + 1
            reached = max(reached, size)
            kept = f"{amount(size)} of it are kept" if size else "nothing of it is there yet"
            if failed > patience.tries:
                raise FetchError(
                    f"{url}: {error}, {failed} times in a row; {kept}: call again later to go on"
                ) from error
            wait = patience.first_wait * 2 ** (failed - 1)
            wait = min(patience.longest_wait, max(wait, error.wait))
            console.say(
                f"{path.name}: {error}; {kept}; trying again in {wait:.0f} s"
                f" ({failed} of {patience.tries})"
            )
            patience.sleep(wait)
        else:
            partial.finish()
            return


def _go_on(url: str, partial: Partial, most: int, console: Console, patience: Patience) -> None:
    """One connection."""
    name = partial.path.name
    known = _usable(partial, url, console)
    start = partial.size() if known else 0
    if known and start and start == known.total:
        return
    headers = {}
    if known and known.validator and start:
        headers = {"Range": f"bytes={start}-", "If-Range": known.validator}
    with get(url, headers, patience.timeout) as response:
        if response.status == HTTPStatus.PARTIAL_CONTENT:
            total = _continued(response, known, start)
        else:
            total = response.length
            version = Version(url, validator(response), total)
            if known and start:
                same = version.validator == known.validator and _agree(total, known.total)
                why = "the server does not resume" if same else "the file has changed"
                console.say(f"{name}: {why}; starting over, {amount(start)} are lost")
            partial.begin(version)
            start = 0
        _check_size(url, partial, total, start, most)
        with partial.append() as file, console.bar(name, total, start) as show:
            for block in blocks(response):
                file.write(block)
                start += len(block)
                if start > most:
                    break
                show(start)
    if start > most:
        partial.discard()
        raise _too_long(url, most)
    if total is not None and start > total:
        raise Transient("the server sends more than the file has", stale=True)
    # Cut within its headers, an answer reads as one that has neither a length nor a body.
    if start < (1 if total is None else total):
        raise Transient("the connection was cut")


def _usable(partial: Partial, url: str, console: Console) -> Version | None:
    """What the part that is there is a part of; None, and no part, where it cannot be used."""
    known, size = partial.version(), partial.size()
    if not size:
        return known
    if known is None:
        why = "nothing tells what the part that is there is a part of"
    elif known.url != url:
        why = "the part that is there came from another address"
    elif known.validator is None:
        why = "the server has no name for this version of the file"
    elif known.total is not None and size > known.total:
        why = "the part that is there is longer than the file"
    else:
        return known
    console.say(f"{partial.path.name}: {why}; starting over, {amount(size)} are lost")
    partial.discard()
    return None


def _continued(response: HTTPResponse, known: Version | None, start: int) -> int | None:
    """How long the file is of which an answer holds the rest.

    Raises:
        Transient: It holds something else than was asked for.
    """
    held, name = span(response), validator(response)
    if known is None or not start or held is None or held.start != start:
        raise Transient("the server sends other bytes than were asked for", stale=True)
    other = name is not None and name != known.validator
    if other or not _agree(held.total, known.total):
        raise Transient("the file has changed; starting over", stale=True)
    if held.total is not None:
        return held.total
    return known.total if response.length is None else start + response.length


def _agree(one: int | None, other: int | None) -> bool:
    return one is None or other is None or one == other


def _check_size(url: str, partial: Partial, total: int | None, start: int, most: int) -> None:
    if total is None:
        return
    if total > most:
        partial.discard()
        raise _too_long(url, most)
    free = shutil.disk_usage(partial.part.parent).free
    if total - start > free:
        raise FetchError(
            f"{partial.part}: {amount(total - start)} are still to come, and only {amount(free)}"
            " are free there; free some room and call again, or name another folder"
        )


def _too_long(url: str, most: int) -> FetchError:
    return FetchError(
        f"{url}: the file is longer than {amount(most)}, which it is not in this collection;"
        " name an address that holds the collection with --url"
    )
