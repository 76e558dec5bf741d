"""Tracebacks cut to the frames of the user's code."""

from __future__ import annotations

import sysconfig
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _pytest._code import Traceback

_GATE = Path(__file__).parent
_LIBRARIES = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]


def user_frames(traceback: Traceback) -> Traceback:
    """Return the traceback from the first frame of the user's code that the gate calls.

    Frames of the gate and of libraries before it, such as decorators, are dropped.

    Args:
        traceback: The whole traceback, from the test runner on.

    Returns:
        The whole traceback if it has no frame of the user's code: the error is then the
        gate's or a library's.
    """
    case = dropwhile(lambda entry: not _in_gate(entry), traceback)
    user = next(dropwhile(lambda entry: _in_gate(entry) or _in_library(entry), case), None)
    return traceback if user is None else traceback.cut(path=user.path)


def _in_gate(entry: Any) -> bool:
    return Path(entry.path).is_relative_to(_GATE)


def _in_library(entry: Any) -> bool:
    return any(Path(entry.path).is_relative_to(folder) for folder in _LIBRARIES)
