"""Parse the part of a specification after the kind: a path and options, ``DIR,split=test``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from robustness.errors import UsageError

DEFAULT_SIDE = 1024
"""Default maximum pixels of the longer side of an image."""

MIN_SIDE, MAX_SIDE = 16, 2**16

ROOT = "root"
"""The only option whose value is a path relative to the working directory."""

_OPTION = re.compile(r"(?P<place>.*),(?P<key>[a-z_]+)=(?P<value>[^,]*)", re.DOTALL)


def split(kind: str, rest: str, allowed: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Split a specification into its path and the given options.

    Raises:
        UsageError: An option is unknown or duplicated, or the path is missing.

    Example:
        >>> split("open_i", "DIR,side=64", {"side": "pixels"})
        ('DIR', {'side': '64'})
    """
    place, options = rest, dict[str, str]()
    while match := _OPTION.fullmatch(place):
        key = match["key"]
        if key not in allowed:
            options_help = "; ".join(f"{name}={values}" for name, values in allowed.items())
            raise UsageError(
                f"evaluation set {f'{kind}:{rest}'!r}: unknown option {key!r};"
                f" allowed: {options_help}"
            )
        if key in options:
            raise UsageError(f"evaluation set {f'{kind}:{rest}'!r}: duplicate option {key!r}")
        place, options[key] = match["place"], match["value"]
    if not place:
        raise UsageError(f"evaluation set {f'{kind}:{rest}'!r} names no file or folder")
    return place, options


def resolve(kind: str, rest: str, allowed: Mapping[str, str], folder: Path) -> str:
    """Return the specification, with its kind and its paths relative to a folder resolved.

    Raises:
        UsageError: As in :func:`split`.
    """
    place, options = split(kind, rest, allowed)
    if ROOT in options:
        options[ROOT] = _join(folder, options[ROOT])
    suffix = "".join(f",{key}={value}" for key, value in reversed(options.items()))
    return f"{kind}:{_join(folder, place)}{suffix}"


def _join(folder: Path, place: str) -> str:
    return place if place.startswith("~") else str(folder / place)


def choice(kind: str, options: Mapping[str, str], key: str, values: tuple[str, ...]) -> str:
    """Return the value of an option; the first of ``values`` if the option is not given.

    Raises:
        UsageError: The value is not one of ``values``.
    """
    value = options.get(key, values[0])
    if value not in values:
        raise UsageError(
            f"evaluation set {kind}: option {key} is {value!r}; allowed are {', '.join(values)}"
        )
    return value


SIDE = f"maximum pixels of the longer side, at least {MIN_SIDE}, or native"
"""Help text of the option ``side``."""


def side(kind: str, options: Mapping[str, str]) -> int | None:
    """Return the maximum pixels of the longer side; None for the original size.

    Raises:
        UsageError: The value is neither ``native`` nor an allowed number of pixels.
    """
    value = options.get("side", str(DEFAULT_SIDE))
    if value == "native":
        return None
    digits = value.isascii() and value.isdigit() and len(value) <= len(str(MAX_SIDE))
    if not (digits and MIN_SIDE <= int(value) <= MAX_SIDE):
        raise UsageError(f"evaluation set {kind}: option side is {value!r}; allowed are {SIDE}")
    return int(value)


def path(kind: str, place: str) -> Path:
    """Return the path of a specification, with ``~`` expanded; it need not exist.

    Raises:
        UsageError: The path cannot be accessed: unknown user, no permission, too long.
    """
    try:
        expanded = Path(place).expanduser()
        expanded.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"evaluation set {f'{kind}:{place}'!r}: cannot be accessed: {reason}"
        ) from error
    return expanded


def folder(kind: str, place: str, needed: tuple[str, ...]) -> Path:
    """Return the folder of a specification, which has the needed subfolders.

    Raises:
        UsageError: The folder or a required subfolder is missing.
    """
    root = path(kind, place)
    for required in (root, *(root / name for name in needed)):
        if not required.is_dir():
            contents = (
                f" that contains {', '.join(f'{name}/' for name in needed)}" if needed else ""
            )
            raise UsageError(
                f"evaluation set {f'{kind}:{place}'!r}: no folder {required};"
                f" name the folder{contents}"
            )
    return root
