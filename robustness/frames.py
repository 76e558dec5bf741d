"""What is shown of a traceback: the frames of a user's code, not those that lead to it."""

from __future__ import annotations

import sysconfig
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _pytest._code import Traceback

_OURS = Path(__file__).parent
_LIBRARIES = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]


def shown(traceback: Traceback) -> Traceback:
    """A traceback of a case from where the gate first calls code that a user wrote.

    What a decorator of a library puts between the two is left out with the gate's frames.

    Args:
        traceback: From the test runner on.

    Returns:
        The whole where no such code is in it: the error is then the gate's or a library's.
    """
    case = dropwhile(lambda entry: not _in_gate(entry), traceback)
    theirs = next(dropwhile(lambda entry: _in_gate(entry) or _in_library(entry), case), None)
    return traceback if theirs is None else traceback.cut(path=theirs.path)


def _in_gate(entry: Any) -> bool:
    return Path(entry.path).is_relative_to(_OURS)


def _in_library(entry: Any) -> bool:
    return any(Path(entry.path).is_relative_to(folder) for folder in _LIBRARIES)
