"""Atomic file writes, also with concurrent or killed writers."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from robustness._util.files import write_whole

WRITER = """
import sys
from pathlib import Path
from robustness._util.files import write_whole
name, letter, times = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3])
for _ in range(times):
    write_whole(Path(name), letter * 100_000, letter * 100_000)
"""

KILLED = """
import os, signal, sys
from pathlib import Path
from robustness._util import files
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
files.write_whole(Path(sys.argv[1]), b"half")
"""


def python(code, *arguments):
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=False)


def test_a_file_is_written_without_leftovers(tmp_path):
    path = tmp_path / "new" / "results.json"
    for parts in ((b"one", b"two"), (b"less",)):
        write_whole(path, *parts)
        assert path.read_bytes() == b"".join(parts)
        assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_keeps_the_previous_content(tmp_path, monkeypatch, error):
    path = tmp_path / "entry"
    write_whole(path, b"before")

    def fail(_):
        raise error

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(type(error)):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_rename_is_raised(tmp_path):
    """Also for a missing file: it is not attributed to another writer."""
    folder = tmp_path / "entry"
    folder.mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(folder, b"after")
    assert list(tmp_path.iterdir()) == [folder]


def test_a_missing_temporary_file_is_raised(tmp_path, monkeypatch):
    path = tmp_path / "entry"
    monkeypatch.setattr("os.fsync", lambda _: Path(f"{path}.partial").unlink())
    with pytest.raises(FileNotFoundError):
        write_whole(path, b"after")


def test_the_leftovers_of_a_killed_process_are_overwritten(tmp_path):
    path = tmp_path / "entry"
    assert python(KILLED, path).returncode == -signal.SIGKILL
    assert [each.name for each in tmp_path.iterdir()] == ["entry.partial"]
    write_whole(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_processes_that_write_one_file_take_turns(tmp_path):
    path = tmp_path / "entry"
    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(python, WRITER, path, letter, 40) for letter in "abcd"]
        while not all(writer.done() for writer in writers):
            if path.exists():
                content = path.read_bytes()
                assert len(content) == 200_000
                assert len(set(content)) == 1
    assert [writer.result().returncode for writer in writers] == [0] * 4
    assert list(tmp_path.iterdir()) == [path]
