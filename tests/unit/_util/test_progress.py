"""Progress bar: one line, not wider than the terminal, erased when the work is done."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import robustness._util.progress
from robustness._util.progress import MAX_COLUMNS, progress, terminal_of


class Terminal:
    """A stream that renders written text like a terminal of one line."""

    def __init__(self, width=80, *, is_terminal=True):
        self.width, self.is_terminal = width, is_terminal
        self.writes, self.line, self.column = [], [], 0
        self.frames = []

    def write(self, text):
        self.writes.append(text)
        for character in text:
            assert character != "\n", "the bar stays on its line"
            if character == "\r":
                self.column = 0
                continue
            assert self.column < self.width, "the bar is wider than the terminal"
            self.line += " " * (self.column + 1 - len(self.line))
            self.line[self.column] = character
            self.column += 1
        self.frames.append("".join(self.line).rstrip())

    def flush(self):
        pass

    def isatty(self):
        return self.is_terminal

    def columns(self):
        return self.width


@pytest.fixture
def at_once(monkeypatch):
    """Draw bars without delay."""
    monkeypatch.setattr(robustness._util.progress, "MIN_DURATION_S", 0)


class Clock:
    """A clock for tqdm that the test sets."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr("tqdm.std.time", lambda: self.now)


def test_short_work_draws_nothing(monkeypatch):
    clock, stream = Clock(monkeypatch), Terminal()
    with progress(10, "decoding", "images", stream) as advance:
        for _ in range(10):
            clock.now += 0.04
            advance(1)
    assert not any(stream.frames)


def test_long_work_draws_a_bar_once_it_is_long_and_erases_it(monkeypatch):
    clock, stream = Clock(monkeypatch), Terminal()
    drawn = []
    with progress(10, "decoding", "images", stream) as advance:
        for _ in range(10):
            clock.now += 0.2
            advance(1)
            drawn.append(bool(stream.frames and stream.frames[-1]))
    assert drawn == [False, False, *[True] * 8]
    assert "10 of 10 images" in "".join(stream.writes)
    assert stream.frames[-1] == ""
    assert stream.column == 0


def test_a_bar_within_a_bar_is_not_drawn(at_once):
    stream = Terminal()
    with progress(4, "searching", "occlusions", stream) as advance:
        for _ in range(4):
            with progress(64, "embedding", "images", stream) as inner:
                inner(64)
            advance(1)
            stream_bar(advance).refresh()
    assert "embedding" not in "".join(stream.writes)
    assert "4 of 4 occlusions" in "".join(stream.writes)
    with progress(64, "embedding", "images", stream):
        assert "embedding" in stream.frames[-1], "the next one is drawn"


def test_nothing_is_drawn_without_a_terminal(at_once):
    stream = Terminal(is_terminal=False)
    with progress(3, "decoding", "images", stream) as advance:
        advance(2)
    assert not stream.writes
    with progress(3, "decoding", "images", None) as advance:
        advance(2)


def test_a_bar_shows_progress_rate_and_remaining_time(at_once):
    stream = Terminal(100)
    with progress(2000, "decoding", "images", stream) as advance:
        assert re.fullmatch(
            r"decoding   0 % \| +\| 0 of 2000 images, \? images/s, \? left", stream.frames[-1]
        )
        # tqdm draws at most ten times a second; the last state is drawn when it closes.
        for _ in range(50):
            advance(20)
        while "1000 of" not in stream.frames[-1]:
            advance(0)
            stream_bar(advance).refresh()
    drawn = [text for text in stream.frames if "1000 of" in text]
    assert re.fullmatch(
        r"decoding  50 % \|#+ +\| 1000 of 2000 images, +[\d.]+ images/s, \d\d:\d\d left", drawn[0]
    )
    assert len(drawn[0]) <= MAX_COLUMNS


def stream_bar(advance):
    """Return the bar of an update method."""
    return advance.__self__


@given(
    total=st.integers(1, 10**7),
    steps=st.lists(st.integers(0, 10**5), max_size=8),
    width=st.integers(2, 300),
    label=st.sampled_from(["decoding", "embedding the reports of a long name"]),
)
def test_the_bar_fits_and_is_erased_for_any_counts(total, steps, width, label):
    stream = Terminal(width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robustness._util.progress, "MIN_DURATION_S", 0)
        draw(stream, total, label, steps)
    assert any(stream.frames)
    assert stream.frames[-1] == ""
    assert stream.column == 0


def draw(stream, total, label, steps):
    with progress(total, label, "images", stream) as advance:
        for step in steps:
            advance(step)
            stream_bar(advance).refresh()


def test_the_bar_is_erased_if_the_work_fails(at_once):
    stream = Terminal()
    with pytest.raises(ValueError, match="broken"), progress(9, "decoding", "images", stream):
        raise ValueError("broken")
    assert any(stream.frames)
    assert stream.frames[-1] == ""


def config(reporter, **more):
    plugins = {"terminalreporter": reporter}
    return SimpleNamespace(pluginmanager=SimpleNamespace(get_plugin=plugins.get), **more)


def test_a_process_without_a_terminal_draws_nothing():
    reporter = SimpleNamespace(isatty=True)
    assert terminal_of(config(None)) is None
    assert terminal_of(config(reporter, workerinput={})) is None
    assert terminal_of(config(reporter)).isatty()
    assert not terminal_of(config(SimpleNamespace(isatty=False))).isatty()


AT_ONCE = "import robustness._util.progress\n\nrobustness._util.progress.MIN_DURATION_S = 0\n"


def on_a_terminal(repository, *arguments, width):
    """Return the output of a gate on a terminal of that width, and its exit status."""
    main, worker = pty.openpty()
    fcntl.ioctl(worker, termios.TIOCSWINSZ, struct.pack("HHHH", 30, width, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "CI"}}
    command = [sys.executable, "-m", "pytest", "-m", "robustness", *arguments]
    with subprocess.Popen(
        [*command, f"--robustness-store={repository.path / 'fresh'}"],
        cwd=repository.path,
        env=environment | {"TERM": "xterm"},
        stdout=worker,
        stderr=worker,
    ) as process:
        os.close(worker)
        text = b""
        while True:
            try:
                piece = os.read(main, 4096)
            except OSError:  # how Linux says that the other end is closed
                break
            if not piece:
                break
            text += piece
    os.close(main)
    return text.decode(), process.returncode


BAR = r"decoding +\d+ %"
"""Start of a bar; the time summary may name the same phase."""


@pytest.mark.parametrize("capture", ["fd", "no"])
def test_a_gate_on_a_terminal_draws_a_bar_and_erases_it(repository, capture):
    (repository.path / "conftest.py").write_text(AT_ONCE)
    text, status = on_a_terminal(
        repository, "-k", "square-0", f"--capture={capture}", "-q", width=50
    )
    assert status == 1, "a part of the cases is no pass"
    pieces = [line for line in re.split(r"[\r\n]+", text) if re.match(BAR, line)]
    assert pieces
    assert all(len(piece) < 50 for piece in pieces)
    erased = text.rindex(pieces[-1])
    assert re.match(r"[^\r\n]*\r +\r", text[erased:]), "nothing of it is left"


def test_a_search_on_a_terminal_draws_a_bar(repository):
    (repository.path / "conftest.py").write_text(AT_ONCE)
    text, status = on_a_terminal(repository, "-k", "test_property and chance", width=80)
    assert status == 1
    assert re.search(r"\rsearching phantom chance +\d+ %.* of 4 occlusions", text)
    erased = text.rindex("searching phantom")
    assert re.match(r"[^\r\n]*\r +\r", text[erased:]), "nothing of it is left"


@pytest.mark.slow
def test_workers_draw_no_bar(repository):
    (repository.path / "conftest.py").write_text(AT_ONCE)
    text, status = on_a_terminal(repository, "-k", "square-0", "-n", "2", width=80)
    assert status == 1
    assert not re.search(BAR, text)


def test_a_pipe_gets_no_bar(repository, at_once):
    outcome = repository.gate("-k", "square-0", "--robustness-store=fresh")
    assert not re.search(BAR, outcome.stdout.str() + outcome.stderr.str())
    assert (repository.path / "fresh").is_dir()
