"""What follows a kind in a specification: a place, then options, ``DIR,split=validate``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from robustness.errors import UsageError

DEFAULT_SIDE = 1024
"""Pixels of an image's longer side, where a specification does not say."""

SMALLEST_SIDE, LARGEST_SIDE = 16, 2**16

ROOT = "root"
"""The one option that names a path which is not relative to the place itself."""

_OPTION = re.compile(r"(?P<place>.*),(?P<key>[a-z_]+)=(?P<value>[^,]*)", re.DOTALL)


def split(kind: str, rest: str, allowed: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Takes the options off a specification, from its end.

    Args:
        kind: The kind of evaluation set, for errors.
        rest: What follows the kind and its colon.
        allowed: Each option's name with its values, as a person is told of them.

    Returns:
        The place, and the options that were given.

    Raises:
        UsageError: An option is unknown or stands twice, or no place is named.
    """
    place, options = rest, dict[str, str]()
    while found := _OPTION.fullmatch(place):
        key = found["key"]
        if key not in allowed:
            known = "; ".join(f"{name}={values}" for name, values in allowed.items())
            raise UsageError(
                f"evaluation set {f'{kind}:{rest}'!r}: unknown option {key!r}; allowed: {known}"
            )
        if key in options:
            raise UsageError(f"evaluation set {f'{kind}:{rest}'!r}: option {key!r} stands twice")
        place, options[key] = found["place"], found["value"]
    if not place:
        raise UsageError(f"evaluation set {f'{kind}:{rest}'!r} names no file or folder")
    return place, options


def located(kind: str, rest: str, allowed: Mapping[str, str], folder: Path) -> str:
    """A specification with its relative paths begun by a folder's.

    Args:
        kind: The kind of evaluation set.
        rest: What follows the kind and its colon.
        allowed: As of :func:`split`.
        folder: What the paths are relative to.

    Raises:
        UsageError: As of :func:`split`.
    """
    place, options = split(kind, rest, allowed)
    if ROOT in options:
        options[ROOT] = _begun(folder, options[ROOT])
    said = "".join(f",{key}={value}" for key, value in reversed(options.items()))
    return f"{kind}:{_begun(folder, place)}{said}"


def _begun(folder: Path, place: str) -> str:
    return place if place.startswith("~") else str(folder / place)


def choice(kind: str, options: Mapping[str, str], key: str, values: tuple[str, ...]) -> str:
    """An option's value, the first of ``values`` where it is not given.

    Raises:
        UsageError: The value is none of ``values``.
    """
    value = options.get(key, values[0])
    if value not in values:
        raise UsageError(
            f"evaluation set {kind}: option {key} is {value!r}; allowed are {', '.join(values)}"
        )
    return value


SIDE = f"pixels of the longer side at most, from {SMALLEST_SIDE}, or native"
"""What to tell a person of the option ``side``."""


def side(kind: str, options: Mapping[str, str]) -> int | None:
    """The longest side that images are kept at; None where they are kept as they are.

    Raises:
        UsageError: The value is neither ``native`` nor a whole number of pixels.
    """
    value = options.get("side", str(DEFAULT_SIDE))
    if value == "native":
        return None
    digits = value.isascii() and value.isdigit() and len(value) <= len(str(LARGEST_SIDE))
    if not (digits and SMALLEST_SIDE <= int(value) <= LARGEST_SIDE):
        raise UsageError(f"evaluation set {kind}: option side is {value!r}; allowed are {SIDE}")
    return int(value)


def path(kind: str, place: str) -> Path:
    """A path that a specification names, which need not be there.

    Args:
        kind: The kind of evaluation set, for errors.
        place: The path as it was written; ``~`` is understood.

    Raises:
        UsageError: The system cannot look there: no such user, no permission, too long.
    """
    try:
        found = Path(place).expanduser()
        found.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"evaluation set {f'{kind}:{place}'!r}: cannot look for it: {reason}"
        ) from error
    return found


def folder(kind: str, place: str, needed: tuple[str, ...]) -> Path:
    """The folder a specification names.

    Args:
        kind: The kind of evaluation set, for errors.
        place: The folder as it was written; ``~`` is understood.
        needed: Folders that must be in it.

    Raises:
        UsageError: It is missing, or one of the needed folders is.
    """
    root = path(kind, place)
    for there in (root, *(root / name for name in needed)):
        if not there.is_dir():
            holds = f" that holds {', '.join(f'{name}/' for name in needed)}" if needed else ""
            raise UsageError(
                f"evaluation set {f'{kind}:{place}'!r}: no folder {there}; name the folder{holds}"
            )
    return root
