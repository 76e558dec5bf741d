"""``fetch`` goes on where it ended: cuts, kills, servers that do not resume or changed."""

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
    WHOLE,
    archives,
    collection,
    nothing_is_taken_for_whole,
    said_in_one_line,
    tree,
)
from http_server import Act

from robustness.fetch import _download

# --- resume ------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_connection_that_is_cut_again_and_again(server, call, web, tmp_path, reset, chunked):
    cuts = [10_000, 1, 0, 20_000, 4_096]
    server.acts[PNG] = [Act(cut=n, reset=reset, chunked=chunked) for n in cuts]
    ended = call(tmp_path)
    assert ended.status == 0, ended.err
    assert tree(tmp_path) == WHOLE
    starts = [int(r[6:-1]) if r else 0 for r in server.asked(PNG)]
    assert starts[0] == 0
    assert starts == sorted(starts)
    assert server.sent(PNG)[:-1] == cuts
    # What the last answer sent is what lacked, so nothing that arrived was sent twice; a
    # reset may lose what was under way.
    assert server.sent(PNG)[-1] == len(PACKS[PNG]) - starts[-1]
    if not reset:
        assert starts == [0, *itertools.accumulate(cuts)]
        assert sum(server.sent(PNG)) == len(PACKS[PNG])
    assert web.waits == [1, 2, 4, 8, 16]
    assert ended.err.count("trying again") == 5


def test_tries_have_an_end_and_the_next_call_goes_on(server, call, web, tmp_path):
    server.acts[PNG] = [Act(cut=1000) for _ in range(7)]
    ended = call(tmp_path)
    said_in_one_line(ended, 1, "the connection was cut, 7 times in a row", "7.0 kB", "call again")
    assert web.waits == [1, 2, 4, 8, 16, 32]
    nothing_is_taken_for_whole(tmp_path)
    assert (tmp_path / f"{PNG}.part").read_bytes() == PACKS[PNG][:7000]
    assert call(tmp_path).status == 0
    assert server.asked(PNG)[-1] == "bytes=7000-"
    assert tree(tmp_path) == WHOLE
    assert len(server.asked(REPORTS)) == 1


def test_headway_makes_tries_count_anew(server, call, monkeypatch, tmp_path):
    monkeypatch.setattr(_download, "HEADWAY", 2000)
    server.acts[PNG] = [Act(cut=2000) for _ in range(25)]
    assert call(tmp_path).status == 0
    assert tree(tmp_path) == WHOLE


@pytest.mark.parametrize("cuts", [[9000], [9000, 3000]])
def test_starting_over_is_no_headway(server, call, monkeypatch, tmp_path, cuts):
    monkeypatch.setattr(_download, "HEADWAY", 2000)
    server.acts[PNG] = [Act(cut=cut, ranges=False) for cut in cuts * 20]
    said_in_one_line(call(tmp_path), 1, "the connection was cut")
    assert len(server.asked(PNG)) == 7
    nothing_is_taken_for_whole(tmp_path)


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_or_interrupted_run_is_gone_on_with(server, call, tmp_path, by):
    server.acts[PNG] = [Act(cut=40_960, stall=True)]
    # Shells start what runs in the background with interrupts ignored, and children inherit it.
    listening = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"import signal, sys; {listening}; from robustness.__main__ import main; "
    command = [sys.executable, "-c", f"{program}sys.exit(main())", "fetch", "open_i", str(tmp_path)]
    part = tmp_path / f"{PNG}.part"
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
    nothing_is_taken_for_whole(tmp_path)
    kept = part.stat().st_size
    assert kept > 30_000
    if by == signal.SIGINT:
        last = f"interrupted; what came is kept in {tmp_path}: call again to go on"
        assert (process.returncode, told.splitlines()[-1]) == (130, last)
        assert "Traceback" not in told
    assert call(tmp_path).status == 0
    assert server.asked(PNG) == [None, f"bytes={kept}-"]
    assert server.sent(PNG)[1] == len(PACKS[PNG]) - kept
    assert tree(tmp_path) == WHOLE


# --- a server that does not resume, or has another file ----------------------------------


def test_a_server_without_ranges_starts_over(server, call, tmp_path):
    server.acts[PNG] = [Act(cut=30_000), Act(ranges=False)]
    ended = call(tmp_path)
    assert ended.status == 0
    assert "the server does not resume; starting over, 30.0 kB are lost" in ended.err
    assert server.sent(PNG) == [30_000, len(PACKS[PNG])]
    assert tree(tmp_path) == WHOLE


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
    """Whether the server heeds If-Range or sends a part of the new file all the same."""
    newer = collection(studies=15)
    fresh = archives(newer)
    server.put(PNG, PACKS[PNG], **name)
    change = Act(before=lambda: server.put(PNG, fresh[PNG], **other), heed_if_range=heed)
    server.acts[PNG] = [Act(cut=30_000), change]
    server.put(REPORTS, fresh[REPORTS])
    ended = call(tmp_path)
    assert ended.status == 0
    assert "the file has changed; starting over" in ended.err
    assert tree(tmp_path) == newer[REPORTS] | newer[PNG]
    assert server.hits[2].if_range == next(iter(name.values()))


@pytest.mark.parametrize("name", [{"ETag": 'W/"v1"'}, {"X-Nothing": "1"}])
def test_a_file_without_a_name_for_its_version_is_not_resumed(server, call, tmp_path, name):
    content = server.files[PNG]
    server.put(PNG, content, **name)
    server.acts[PNG] = [Act(cut=30_000)]
    ended = call(tmp_path)
    assert ended.status == 0
    assert "the server has no name for this version of the file; starting over" in ended.err
    assert server.asked(PNG) == [None, None]
    assert tree(tmp_path) == WHOLE


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
def test_a_part_that_does_not_fit_is_thrown_away(server, call, tmp_path, act):
    server.acts[PNG] = [Act(cut=30_000), act]
    assert call(tmp_path).status == 0
    assert server.asked(PNG) == [None, "bytes=30000-", None]
    assert tree(tmp_path) == WHOLE


@pytest.mark.parametrize(
    ("part", "note", "why"),
    [
        (b"abc", None, "nothing tells what"),
        (b"abc", "{", "nothing tells what"),
        (b"abc", '{"url": 1, "validator": "x", "total": 5}', "nothing tells what"),
        (b"abc", {"url": "http://x/", "validator": '"v1"', "total": 5}, "from another address"),
        (b"abcdef", {"validator": '"v1"', "total": 5}, "longer than the file"),
        (b"", {"validator": '"v1"', "total": 5}, ""),
        (b"", {"validator": '"v1"', "total": 0}, ""),
    ],
)
def test_a_part_of_unknown_origin_is_not_gone_on_with(server, call, tmp_path, part, note, why):
    if part:
        (tmp_path / f"{PNG}.part").write_bytes(part)
    if isinstance(note, dict):
        note = json.dumps({"url": server.url + PNG} | note)
    if note is not None:
        (tmp_path / f"{PNG}.part.json").write_text(note)
    ended = call(tmp_path)
    assert ended.status == 0
    assert why in ended.err
    assert server.asked(PNG) == [None]
    assert tree(tmp_path) == WHOLE


def test_a_part_that_is_all_there_needs_no_server(server, call, tmp_path):
    (tmp_path / f"{PNG}.part").write_bytes(PACKS[PNG])
    note = {"url": server.url + PNG, "validator": '"v1"', "total": len(PACKS[PNG])}
    (tmp_path / f"{PNG}.part.json").write_text(json.dumps(note))
    assert call(tmp_path).status == 0
    assert server.asked(PNG) == []
    assert tree(tmp_path) == WHOLE
