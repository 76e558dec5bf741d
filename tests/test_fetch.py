"""``fetch``: a complete download, the summary, checksums, disks, locks and invalid options."""

from __future__ import annotations

import hashlib
import resource
import shutil
import sys
import threading
from pathlib import Path

import pytest
from fetch_bench import (
    FILES,
    PACKS,
    PNG,
    REPORTS,
    SUMS,
    WHOLE,
    assert_incomplete,
    assert_one_line,
    packed,
    tree,
)
from http_server import Act

from robustness import evalset
from robustness.__main__ import main
from robustness.cli import fetch as _fetch

FLAT = {path.removeprefix("NLMCXR_png/"): content for path, content in FILES[PNG].items()}

# --- a complete download -----------------------------------------------------------------


def test_the_collection_is_fetched_and_can_be_read(server, call, tmp_path):
    root = tmp_path / "new" / "cxr set"
    ended = call(root)
    assert ended.status == 0
    assert ended.out.splitlines() == [
        f"{root}: 12 reports and 12 images",
        "licence: CC BY-NC-ND 4.0; attribution: Kohli and Rosenman, Indiana University",
        f"checksums of the archives: {root}/SHA256SUMS",
        f"next: pytest -m robustness --robustness-evalset 'open_i:{root}'",
    ]
    assert tree(root) == WHOLE | SUMS
    assert {path.name for path in root.iterdir() if path.name.startswith(".")} == {".fetch.lock"}
    assert "%" not in ended.err, "no progress bar without a terminal"
    assert server.asked(PNG) == [None]
    loaded = evalset.load(f"open_i:{root}")
    assert [p.report.findings for p in loaded.pairs] == [f"Finding {n}." for n in range(1, 13)]
    assert loaded.excluded == ()


def test_a_second_run_downloads_and_writes_nothing(server, call, tmp_path):
    call(tmp_path)
    before = len(server.hits)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    ended = call(tmp_path)
    assert ended.status == 0
    assert "12 images; complete, nothing was downloaded" in ended.out
    assert "next: pytest" in ended.out
    assert len(server.hits) == before
    times.pop(tmp_path / ".fetch.lock")
    assert times.items() <= {p: p.stat().st_mtime_ns for p in times}.items()


def test_archives_are_kept_on_request_and_used_again(server, call, tmp_path):
    call(tmp_path, "--keep-archives")
    assert tree(tmp_path) == WHOLE | PACKS | SUMS
    shutil.rmtree(tmp_path / "NLMCXR_png")
    ended = call(tmp_path)
    assert f"using the existing {tmp_path / PNG}" in ended.err
    assert len(server.hits) == 2
    assert tree(tmp_path) == WHOLE | SUMS | {REPORTS: PACKS[REPORTS]}


def test_reports_first_and_images_later(server, call, tmp_path):
    ended = call(tmp_path, "--images", "none")
    assert ended.out.splitlines()[-1] == (
        f"next, for the images: python -m robustness fetch open_i {tmp_path}"
    )
    assert tree(tmp_path).keys() - {"SHA256SUMS"} == FILES[REPORTS].keys()
    assert call(tmp_path).status == 0
    assert tree(tmp_path) == WHOLE | SUMS
    assert len(server.asked(REPORTS)) == 1


def test_dicom_images(server, call, tmp_path):
    images = {f"{n}/{n}_IM-{n:04}-1001.dcm": b"DICM%d" % n for n in range(1, 13)}
    server.put("NLMCXR_dcm.tgz", packed(images))
    assert "12 reports and 12 images" in call(tmp_path, "--images", "dcm").out
    expected = FILES[REPORTS] | {f"NLMCXR_dcm/{k}": v for k, v in images.items()}
    assert {k: v for k, v in tree(tmp_path).items() if k != "SHA256SUMS"} == expected


def test_images_that_reports_name_and_the_archive_lacks_are_counted(web, tmp_path):
    web.server.put(PNG, packed(dict(list(FLAT.items())[1:])))
    ended = web.call(tmp_path)
    assert "missing: 1 image that reports name" in ended.out
    spec = f"open_i:{tmp_path},missing=exclude"
    assert ended.out.endswith(f"--robustness-evalset {spec}\n")
    assert len(evalset.load(spec).pairs) == 11


def test_a_report_that_cannot_be_read_is_an_error_of_the_set(web, tmp_path):
    web.server.put(REPORTS, packed(FILES[REPORTS] | {"ecgen-radiology/3.xml": b"<a>"}))
    assert_one_line(web.call(tmp_path), 1, "ecgen-radiology/3.xml", "not well-formed")


# --- checksums ---------------------------------------------------------------------------


def test_checksums_of_an_earlier_download_pin_the_next_one(web, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    ended = web.call(first)
    sums = first / "SHA256SUMS"
    digest = hashlib.sha256(PACKS[PNG]).hexdigest()
    assert f"SHA-256 of {PNG}: {digest}\n" in ended.err
    assert f"{digest}  {PNG}\n" in sums.read_text()
    assert web.call(second, "--checksums", str(sums)).status == 0
    assert web.call(second, "--checksums", str(sums)).status == 0
    web.server.put(PNG, packed(FLAT, mtime=1), ETag='"v2"')
    third = tmp_path / "third"
    last = assert_one_line(web.call(third, "--checksums", str(sums)), 1, web.server.url + PNG)
    assert digest in last
    assert_incomplete(third)
    assert not list(third.rglob(PNG))
    assert web.call(third).status == 0
    assert_one_line(
        web.call(third, "--checksums", str(sums)), 1, str(third / "NLMCXR_png"), "another checksum"
    )


def test_an_existing_archive_is_checked_against_the_checksums(web, tmp_path):
    sums = tmp_path / "sums"
    sums.write_text("".join(f"{'0' * 64}  {name}\n" for name in (PNG, REPORTS)))
    root = tmp_path / "set"
    root.mkdir()
    for name in (PNG, REPORTS):
        (root / name).write_bytes(PACKS[name])
    assert_one_line(web.call(root, "--checksums", str(sums)), 1, str(root), "SHA-256", "0" * 64)
    assert_incomplete(root)
    assert (root / PNG).read_bytes() == PACKS[PNG]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"abc  NLMCXR_png.tgz\n", "line 1 is invalid"),
        (b"%s  NLMCXR_png.tgz\n" % (b"0" * 64), "no line for NLMCXR_reports.tgz"),
    ],
)
def test_invalid_checksums_are_refused_first(web, tmp_path, content, words):
    sums = tmp_path / "sums"
    if content is not None:
        sums.write_bytes(content)
    root = tmp_path / "set"
    assert_one_line(web.call(root, "--checksums", str(sums)), 2, "checksums", words)
    assert not root.exists()


# --- folders that have other content -----------------------------------------------------


def test_a_folder_from_elsewhere_is_not_changed(web, tmp_path):
    target = tmp_path / "NLMCXR_png" / "mine.png"
    target.parent.mkdir()
    target.write_bytes(b"mine")
    last = assert_one_line(web.call(tmp_path), 1, str(target.parent), "move it away", "SHA256SUMS")
    assert "does not list NLMCXR_png.tgz" in last
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert web.server.hits == []
    shutil.rmtree(target.parent)
    assert web.call(tmp_path).status == 0
    assert tree(tmp_path) == WHOLE | SUMS


@pytest.mark.parametrize("damage", [b"", b"\xff\0", b"nonsense\n"])
def test_a_damaged_list_of_unpacked_archives_is_one_line(web, tmp_path, damage):
    web.call(tmp_path)
    (tmp_path / "SHA256SUMS").write_bytes(damage)
    assert_one_line(web.call(tmp_path), 2 if damage else 1, str(tmp_path / "SHA256SUMS"))
    assert tree(tmp_path) == WHOLE | {"SHA256SUMS": damage}


def test_the_remains_of_a_killed_run_are_removed(web, tmp_path):
    left = tmp_path / ".fetching" / "NLMCXR_png"
    left.mkdir(parents=True)
    (left / "CXR1_IM-0001-1001.png").write_bytes(b"half")
    assert web.call(tmp_path).status == 0
    assert not left.exists()
    assert tree(tmp_path) == WHOLE | SUMS


# --- two runs, disks ---------------------------------------------------------------------


def test_two_runs_do_not_write_one_file(server, web, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(_fetch, "TIMEOUT", 10)
    server.acts[PNG] = [Act(cut=20_000, stall=True)]
    command = ["fetch", "open_i", str(tmp_path), "--url", server.url]
    statuses = []
    first = threading.Thread(target=lambda: statuses.append(main(command)))
    first.start()
    assert server.stalled.wait(5)
    assert main(command) == 1
    assert "is in use by another fetch; wait until it ends" in capsys.readouterr().err
    server.released.set()
    first.join(10)
    assert not first.is_alive()
    assert statuses == [0]
    assert len(server.asked(PNG)) == 2
    assert tree(tmp_path) == WHOLE | SUMS


def test_a_partial_file_is_kept_when_the_disk_is_full(server, call, tmp_path):
    """A file size limit gives the operating system's own error in the middle of a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        ended = call(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_one_line(ended, 1, "File too large", "free some space and run the command again")
    assert_incomplete(tmp_path)
    part = (tmp_path / ".fetching" / f"{PNG}.part").read_bytes()
    assert part == PACKS[PNG][: len(part)]
    assert 30_000 < len(part) <= 50_000
    assert call(tmp_path).status == 0
    assert server.asked(PNG) == [None, f"bytes={len(part)}-"]
    assert tree(tmp_path) == WHOLE | SUMS


def test_a_folder_that_cannot_be_created(call, server):
    assert_one_line(call(Path("/proc/nowhere/set")), 1, "/proc/nowhere", "choose another folder")
    assert server.hits == []


# --- invalid options -----------------------------------------------------------------------


def test_a_file_is_not_a_folder(call, server, tmp_path):
    (tmp_path / "set").write_text("")
    assert_one_line(call(tmp_path / "set"), 2, "is not a folder")
    assert server.hits == []


def test_images_that_would_not_be_read_are_not_fetched(call, server, tmp_path):
    (tmp_path / "images").mkdir()
    assert_one_line(call(tmp_path), 2, "images", "rather than from NLMCXR_png")
    assert call(tmp_path, "--images", "none").status == 0
    assert len(server.hits) == 1


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/x/",
        "file:///etc/",
        "127.0.0.1/x",
        "http://",
        "http://me:secret@127.0.0.1/",
        "http://127.0.0.1/x?y=1",
        "http://127.0.0.1/x#y",
        "http://127.0.0.1/x y",
        "http://127.0.0.1/x\r\nHost: evil",
    ],
)
def test_the_url_of_a_folder_is_required(call, server, tmp_path, url):
    assert_one_line(call(tmp_path / "new", url=url), 2, "--url", "allowed are http://")
    assert not (tmp_path / "new").exists()
    assert server.hits == []


@pytest.mark.parametrize(
    "url",
    ["http:///x", "http://127.0.0.1:port/", "http://127.0.0.1:99999/", "http://[127.0.0.1/"],
)
def test_a_malformed_host_is_one_line(call, server, tmp_path, url):
    assert_one_line(call(tmp_path, url=url), 1, "malformed URL", "--url")
    assert server.hits == []


def test_pooch_is_named_with_its_command_if_it_is_missing(call, server, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert_one_line(call(tmp_path), 2, "pooch", "pip install 'robustness-gate[fetch]'")
    assert server.hits == []
