"""Warnings of the decoding libraries, kept from whoever runs the gate.

Images are decoded in threads, and Python's warning filters belong to the process: filters set
and restored in each thread would undo each other. So the first decoder to begin sets them and
the last one to end restores them; they name the libraries, so no other warning is touched.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_active = 0
_saved = warnings.catch_warnings()


@contextmanager
def settled_warnings() -> Iterator[None]:
    """While it lasts, Pillow's warnings of damage are raised and those of metadata ignored.

    Pillow warns where it reads on after damage, which must not pass for the image. pydicom
    warns of values that break a rule of the standard, mostly far from the pixels (a name too
    long, a character set); what matters for the pixels is checked in ``_dicom``.
    """
    global _active, _saved  # noqa: PLW0603 - the filters are the process's, and so is this
    with _lock:
        if not _active:
            _saved = warnings.catch_warnings()
            _saved.__enter__()
            warnings.filterwarnings("error", module=r"PIL\.")
            warnings.filterwarnings("ignore", message="Metadata Warning", module=r"PIL\.")
            warnings.filterwarnings("ignore", module=r"pydicom\.")
        _active += 1
    try:
        yield
    finally:
        with _lock:
            _active -= 1
            if not _active:
                _saved.__exit__(None, None, None)
