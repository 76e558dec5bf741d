"""Which files are opened to read."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread

from robustness.opened import opened


def test_what_is_read_is_gathered_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("before", "one", "two", "three", "after"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("one")
    Path("before").read_text()
    with opened() as found:
        Path("one").read_text()
        os.close(os.open(b"two", os.O_RDONLY))
        Path("link").read_bytes()
        with opened() as inner:
            thread = Thread(target=Path("three").read_text)
            thread.start()
            thread.join()
        Path("written").write_text("")
        Path("/proc/self/stat").read_text()
    Path("after").read_text()
    assert found == {tmp_path / name for name in ("one", "two", "link", "three")}
    assert inner == {tmp_path / "three"}
