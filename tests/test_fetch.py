"""``fetch``: what it leaves, what it says, disks, locks and wrong orders."""

from __future__ import annotations

import errno
import re
import resource
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from fetch_bench import (
    FILES,
    PACKS,
    PNG,
    REPORTS,
    WHOLE,
    nothing_is_taken_for_whole,
    packed,
    said_in_one_line,
    tree,
)
from http_server import Act

from robustness import evalset
from robustness.errors import FetchError
from robustness.fetch import Console, Order, Patience, fetch

# --- what it should be -------------------------------------------------------------------


def test_the_collection_is_fetched_and_can_be_read(server, call, tmp_path):
    root = tmp_path / "new" / "cxr set"
    ended = call(root)
    assert ended.status == 0
    assert ended.out.splitlines() == [
        f"{root} holds 12 reports and 12 images",
        "licence: CC BY-NC-ND 4.0; attribution: Kohli and Rosenman, Indiana University",
        f"next: pytest -m robustness --robustness-evalset 'open_i:{root}'",
    ]
    assert tree(root) == WHOLE
    assert "%" not in ended.err, "no bar where no person watches"
    assert server.asked(PNG) == [None]
    loaded = evalset.load(f"open_i:{root}")
    assert [p.report.findings for p in loaded.pairs] == [f"Finding {n}." for n in range(1, 13)]
    assert loaded.excluded == ()


def test_a_second_call_does_nothing_and_says_so(server, call, tmp_path):
    call(tmp_path)
    before = len(server.hits)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    ended = call(tmp_path)
    assert ended.status == 0
    assert "already, so nothing was fetched" in ended.out
    assert "next: pytest" in ended.out
    assert len(server.hits) == before
    times.pop(tmp_path / ".fetch.lock")
    assert times.items() <= {p: p.stat().st_mtime_ns for p in times}.items()


def test_archives_stay_where_asked_and_are_used_again(server, call, tmp_path):
    call(tmp_path, "--keep-archives")
    assert tree(tmp_path) == WHOLE | PACKS
    shutil.rmtree(tmp_path / "NLMCXR_png")
    ended = call(tmp_path)
    assert "12 of its files are gone" in ended.err
    assert "is there already; it is unpacked" in ended.err
    assert len(server.hits) == 2
    assert tree(tmp_path) == WHOLE | {REPORTS: PACKS[REPORTS]}


def test_reports_alone_then_the_images(server, call, tmp_path):
    ended = call(tmp_path, "--images", "none")
    assert ended.out.splitlines()[-1] == (
        f"next, for the images: python -m robustness fetch open_i {tmp_path}"
    )
    assert tree(tmp_path) == FILES[REPORTS]
    assert call(tmp_path).status == 0
    assert tree(tmp_path) == WHOLE
    assert len(server.asked(REPORTS)) == 1


def test_dicom_images(server, call, tmp_path):
    images = {f"{n}/{n}_IM-{n:04}-1001.dcm": b"DICM%d" % n for n in range(1, 13)}
    server.put("NLMCXR_dcm.tgz", packed(images))
    assert "12 reports and 12 images" in call(tmp_path, "--images", "dcm").out
    assert tree(tmp_path) == FILES[REPORTS] | {f"NLMCXR_dcm/{k}": v for k, v in images.items()}


# --- two runs, disks ---------------------------------------------------------------------


def test_two_runs_do_not_write_one_file(server, tmp_path):
    server.acts[PNG] = [Act(cut=20_000, stall=True)]
    patience = Patience(timeout=10, sleep=lambda _: None)
    order = Order(tmp_path, base=server.url)
    lines = []
    first = threading.Thread(
        target=lambda: lines.extend(fetch(order, Console(lambda _: None), patience))
    )
    first.start()
    assert server.stalled.wait(5)
    with pytest.raises(FetchError, match="being filled by another run"):
        fetch(order, Console(lambda _: None), patience)
    server.released.set()
    first.join(10)
    assert not first.is_alive()
    assert len(server.asked(PNG)) == 2
    assert tree(tmp_path) == WHOLE
    assert "12 reports and 12 images" in lines[0]


def test_a_file_that_cannot_be_written_on_is_kept(server, call, tmp_path):
    """The system's own refusal in the midst of a file, as a full disk gives it."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        ended = call(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said_in_one_line(ended, 1, "File too large", "free some room and call again")
    nothing_is_taken_for_whole(tmp_path)
    part = (tmp_path / f"{PNG}.part").read_bytes()
    assert part == PACKS[PNG][: len(part)]
    assert 30_000 < len(part) <= 50_000
    assert call(tmp_path).status == 0
    assert server.asked(PNG) == [None, f"bytes={len(part)}-"]
    assert tree(tmp_path) == WHOLE


def test_a_disk_that_is_too_small_is_told_before(server, call, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2000))
    ended = call(tmp_path)
    said_in_one_line(ended, 1, PNG, "are still to come, and only 2.0 kB are free")
    assert (tmp_path / f"{PNG}.part").exists() is False
    nothing_is_taken_for_whole(tmp_path)


@pytest.mark.parametrize(
    ("number", "todo"),
    [(errno.ENOSPC, "free some room"), (errno.EACCES, "name a folder that can be written to")],
)
def test_a_disk_that_refuses_is_told_in_one_line(call, monkeypatch, tmp_path, number, todo):
    def refuse(self, *arguments, **settings):
        raise OSError(number, "refused", str(self))

    monkeypatch.setattr(Path, "rename", refuse)
    said_in_one_line(call(tmp_path), 1, "refused", todo)
    monkeypatch.undo()
    nothing_is_taken_for_whole(tmp_path)


def test_a_folder_that_cannot_be_made(call, server):
    said_in_one_line(call(Path("/proc/nowhere/set")), 1, "/proc/nowhere", "name a folder")
    assert server.hits == []


# --- what is asked for wrongly -------------------------------------------------------------


def test_a_file_is_no_folder(call, server, tmp_path):
    (tmp_path / "set").write_text("")
    said_in_one_line(call(tmp_path / "set"), 2, "is no folder")
    assert server.hits == []


def test_images_that_would_not_be_read_are_not_fetched(call, server, tmp_path):
    (tmp_path / "images").mkdir()
    said_in_one_line(call(tmp_path), 2, "images", "rather than from NLMCXR_png")
    assert call(tmp_path, "--images", "none").status == 0
    assert len(server.hits) == 1


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/x/",
        "file:///etc/",
        "127.0.0.1/x",
        "http://",
        "http:///x",
        "http://127.0.0.1:port/",
        "http://127.0.0.1:99999/",
        "http://me:secret@127.0.0.1/",
        "http://127.0.0.1/x?y=1",
        "http://127.0.0.1/x#y",
        "http://127.0.0.1/x y",
        "http://127.0.0.1/x\r\nHost: evil",
        "http://[127.0.0.1/",
    ],
)
def test_an_address_is_one_of_a_folder_on_the_web(call, server, tmp_path, url):
    last = said_in_one_line(call(tmp_path / "new", url=url), 2, "--url", "allowed are http://")
    assert not re.search(r"[\r\n]", last)
    assert not (tmp_path / "new").exists()
    assert server.hits == []
