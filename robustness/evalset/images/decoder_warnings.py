"""Warning filters during image decoding.

Images are decoded in threads, but warning filters are process-wide: filters that each thread
sets and restores would undo each other. Therefore the first active decoder sets the filters and
the last one restores them. The filters name the decoding libraries, so other warnings are not
affected.
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
def decoder_warning_filters() -> Iterator[None]:
    """Raise Pillow's warnings of damage; ignore its metadata warnings and those of pydicom.

    Pillow warns and continues after damage, which must not count as the image. pydicom warns
    of values that violate the standard, mostly unrelated to the pixels (a long name, a
    character set); :mod:`robustness.evalset.images.dicom` checks what affects the pixels.
    """
    global _active, _saved  # noqa: PLW0603 - the filters are process-wide
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
