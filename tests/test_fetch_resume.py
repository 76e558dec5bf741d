"""``fetch`` resumes: cut connections, killed runs, servers that cannot resume, changed files."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading

import pytest
from fetch_bench import (
    PACKS,
    PNG,
    REPORTS,
    SUMS,
    WHOLE,
    archives,
    assert_incomplete,
    assert_one_line,
    collection,
    tree,
)
from http_server import Act

from robustness.cli import fetch as _fetch

# --- resume ------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_connection_that_is_cut_again_and_again(server, call, web, tmp_path, reset, chunked):
    cuts = [10_000, 1, 0, 20_000, 4_096]
    server.acts[PNG] = [Act(cut=n, reset=reset, chunked=chunked) for n in cuts]
    ended = call(tmp_path)
    assert ended.status == 0, ended.err
    assert tree(tmp_path) == WHOLE | SUMS
    starts = [int(r[6:-1]) if r else 0 for r in server.asked(PNG)]
    assert starts[0] == 0
    assert starts == sorted(starts)
    assert server.sent(PNG)[:-1] == cuts
    # No received byte was sent twice; a reset may lose bytes that were not received yet.
    assert server.sent(PNG)[-1] == len(PACKS[PNG]) - starts[-1]
    if not reset:
        assert starts == [0, *itertools.accumulate(cuts)]
        assert sum(server.sent(PNG)) == len(PACKS[PNG])
    assert web.waits == [1, 2, 4, 8, 16]
    assert ended.err.count("; retry ") == 5


def test_retries_end_and_the_next_run_resumes(server, call, web, tmp_path):
    server.acts[PNG] = [Act(cut=1000) for _ in range(7)]
    ended = call(tmp_path)
    assert_one_line(ended, 1, "failed 7 times in a row: the connection was closed early", "7.0 kB")
    assert web.waits == [1, 2, 4, 8, 16, 32]
    assert_incomplete(tmp_path)
    assert (tmp_path / ".fetching" / f"{PNG}.part").read_bytes() == PACKS[PNG][:7000]
    assert call(tmp_path).status == 0
    assert server.asked(PNG)[-1] == "bytes=7000-"
    assert tree(tmp_path) == WHOLE | SUMS
    assert len(server.asked(REPORTS)) == 1


def test_progress_resets_the_retries(server, call, monkeypatch, tmp_path):
    monkeypatch.setattr(_fetch, "MIN_PROGRESS", 2000)
    server.acts[PNG] = [Act(cut=2000) for _ in range(25)]
    assert call(tmp_path).status == 0
    assert tree(tmp_path) == WHOLE | SUMS


@pytest.mark.parametrize("cuts", [[9000], [9000, 3000]])
def test_starting_over_is_not_progress(server, call, monkeypatch, tmp_path, cuts):
    monkeypatch.setattr(_fetch, "MIN_PROGRESS", 2000)
    server.acts[PNG] = [Act(cut=cut, ranges=False) for cut in cuts * 20]
    assert_one_line(call(tmp_path), 1, "the connection was closed early")
    assert len(server.asked(PNG)) == 7
    assert_incomplete(tmp_path)


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_or_interrupted_run_is_resumed(server, call, tmp_path, by):
    server.acts[PNG] = [Act(cut=40_960, stall=True)]
    # A shell starts background jobs with interrupts ignored, and children inherit that.
    listening = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"import signal, sys; {listening}; from robustness.__main__ import main; "
    command = [sys.executable, "-c", f"{program}sys.exit(main())", "fetch", "open_i", str(tmp_path)]
    part = tmp_path / ".fetching" / f"{PNG}.part"
    process = subprocess.Popen(
        [*command, "--url", server.url], stderr=subprocess.PIPE, encoding="utf-8"
    )
    try:
        assert server.stalled.wait(10)
        for _ in range(500):
            if part.exists() and part.stat().st_size > 30_000:
                break
            threading.Event().wait(0.01)
        process.send_signal(by)
        _, told = process.communicate(timeout=10)
    finally:
        process.kill()
    assert_incomplete(tmp_path)
    kept = part.stat().st_size
    assert kept > 30_000
    if by == signal.SIGINT:
        last = f"interrupted; run the command again to resume from {tmp_path}"
        assert (process.returncode, told.splitlines()[-1]) == (130, last)
        assert "Traceback" not in told
    assert call(tmp_path).status == 0
    assert server.asked(PNG) == [None, f"bytes={kept}-"]
    assert server.sent(PNG)[1] == len(PACKS[PNG]) - kept
    assert tree(tmp_path) == WHOLE | SUMS


# --- a server that does not resume, or has another file ----------------------------------


def test_a_server_without_ranges_starts_over(server, call, tmp_path):
    server.acts[PNG] = [Act(cut=30_000), Act(ranges=False)]
    ended = call(tmp_path)
    assert ended.status == 0
    assert "cannot resume" in ended.err
    assert "30.0 kB are lost" in ended.err
    assert server.sent(PNG) == [30_000, len(PACKS[PNG])]
    assert tree(tmp_path) == WHOLE | SUMS


@pytest.mark.parametrize("heed", [True, False])
@pytest.mark.parametrize(
    ("name", "other"),
    [
        ({"ETag": '"v1"'}, {"ETag": '"v2"'}),
        (
            {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"},
            {"Last-Modified": "Tue, 02 Jan 2024 00:00:00 GMT"},
        ),
    ],
)
def test_a_file_that_changes_midway_starts_over(server, call, tmp_path, name, other, heed):
    """The server heeds If-Range, or sends a part of the new file nevertheless."""
    newer = collection(studies=15)
    fresh = archives(newer)
    server.put(PNG, PACKS[PNG], **name)
    change = Act(before=lambda: server.put(PNG, fresh[PNG], **other), heed_if_range=heed)
    server.acts[PNG] = [Act(cut=30_000), change]
    server.put(REPORTS, fresh[REPORTS])
    ended = call(tmp_path)
    assert ended.status == 0
    assert "the file has changed" in ended.err
    assert tree(tmp_path).items() >= (newer[REPORTS] | newer[PNG]).items()
    assert server.hits[2].if_range == next(iter(name.values()))


@pytest.mark.parametrize("name", [{"ETag": 'W/"v1"'}, {"X-Nothing": "1"}])
def test_a_file_without_a_version_is_not_resumed(server, call, tmp_path, name):
    content = server.files[PNG]
    server.put(PNG, content, **name)
    server.acts[PNG] = [Act(cut=30_000)]
    ended = call(tmp_path)
    assert ended.status == 0
    assert "cannot resume" in ended.err
    assert server.asked(PNG) == [None, None]
    assert tree(tmp_path) == WHOLE | SUMS


@pytest.mark.parametrize(
    "act",
    [
        Act(shift=3),
        Act(status=416),
        Act(headers={"Content-Range": "bytes 1000-"}),
        Act(headers={"ETag": '"v9"'}),
    ],
    ids=["shifted", "not satisfiable", "malformed", "other version"],
)
def test_a_part_that_does_not_fit_is_discarded(server, call, tmp_path, act):
    server.acts[PNG] = [Act(cut=30_000), act]
    assert call(tmp_path).status == 0
    assert server.asked(PNG) == [None, "bytes=30000-", None]
    assert tree(tmp_path) == WHOLE | SUMS


@pytest.mark.parametrize(
    "state",
    [
        None,
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"url": 1, "version": "x"}',
        b'{"url": "http://x/", "version": "\\"v1\\""}',
        b'{"url": "URL", "version": 5}',
        b'{"url": "URL", "version": "a\\r\\nHost: evil"}',
    ],
)
def test_a_part_without_a_valid_state_file_is_not_resumed(server, call, tmp_path, state):
    work = tmp_path / ".fetching"
    work.mkdir()
    (work / f"{PNG}.part").write_bytes(b"abc")
    if state is not None:
        state = state.replace(b"URL", (server.url + PNG).encode())
        (work / f"{PNG}.part.json").write_bytes(state)
    ended = call(tmp_path)
    assert ended.status == 0
    assert f"{PNG}.part.json is damaged; 3 bytes are lost" in ended.err
    assert server.asked(PNG) == [None]
    assert tree(tmp_path) == WHOLE | SUMS


@pytest.mark.parametrize("surplus", [b"", b"x"])
def test_a_part_that_is_complete_or_too_long(server, call, tmp_path, surplus):
    work = tmp_path / ".fetching"
    work.mkdir()
    (work / f"{PNG}.part").write_bytes(PACKS[PNG] + surplus)
    (work / f"{PNG}.part.json").write_text(json.dumps({"url": server.url + PNG, "version": '"v1"'}))
    assert call(tmp_path).status == 0
    assert server.sent(PNG) == ([0, len(PACKS[PNG])] if surplus else [0])
    assert tree(tmp_path) == WHOLE | SUMS
