"""``fetch``: server errors, redirects, stalls, wrong lengths, TLS."""

from __future__ import annotations

import dataclasses
import re
import socket

import http_server
import pytest
from fetch_bench import PACKS, PNG, REPORTS, SUMS, WHOLE, assert_incomplete, assert_one_line, tree
from http_server import Act, serving

from robustness.cli import fetch as _fetch


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_not_retried_and_the_next_run_succeeds(server, call, web, tmp_path, status):
    server.acts[PNG] = [Act(status=status)]
    assert_one_line(call(tmp_path), 1, server.url + PNG, f"answers {status} ", "--url")
    assert web.waits == []
    assert_incomplete(tmp_path)
    assert call(tmp_path).status == 0
    assert tree(tmp_path) == WHOLE | SUMS
    assert len(server.asked(REPORTS)) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_error_is_retried(server, call, web, tmp_path, status):
    server.acts[PNG] = [Act(status=status), Act(cut=5000), Act(status=status)]
    ended = call(tmp_path)
    assert ended.status == 0
    assert ended.err.count(f"the server answers {status} ") == 2
    assert server.asked(PNG) == [None, None, "bytes=5000-", "bytes=5000-"]
    assert web.waits == [1, 2, 4]
    assert tree(tmp_path) == WHOLE | SUMS


@pytest.mark.parametrize(
    ("after", "wait"), [("7", 7), ("900", 60), ("0", 1), ("-5", 1), ("soon", 1), ("9" * 99, 1)]
)
def test_retry_after_is_respected(server, call, web, tmp_path, after, wait):
    server.acts[PNG] = [Act(status=503, headers={"Retry-After": after})]
    assert call(tmp_path).status == 0
    assert web.waits == [wait]


@pytest.mark.parametrize("status", [204, 206, 299, 304])
def test_an_answer_without_a_file(server, call, tmp_path, status):
    server.acts[PNG] = [Act(status=status) for _ in range(9)]
    assert_one_line(call(tmp_path), 1, PNG)
    assert_incomplete(tmp_path)


def test_a_stalled_server_times_out_and_is_retried(server, call, tmp_path):
    server.acts[PNG] = [Act(cut=20_000, stall=True), Act(cut=0, stall=True)]
    ended = call(tmp_path)
    assert ended.status == 0
    assert ended.err.count("the server does not answer in time") == 2
    assert server.asked(PNG) == [None, "bytes=20000-", "bytes=20000-"]
    assert tree(tmp_path) == WHOLE | SUMS


def test_no_server(call, web, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        assert_one_line(
            call(tmp_path, url=url),
            1,
            "Connection refused",
            "7 times in a row",
            "run the command again",
        )
    assert len(web.waits) == 6
    assert_incomplete(tmp_path)


@pytest.mark.parametrize("answer", [b"", b"\x1b[31mnonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: "])
def test_a_server_that_does_not_speak_http(call, monkeypatch, tmp_path, answer):
    monkeypatch.setattr(http_server.Handler, "handle", lambda self: self.wfile.write(answer))
    last = assert_one_line(call(tmp_path), 1, "7 times in a row")
    assert last.isprintable()
    assert_incomplete(tmp_path)


# --- lengths -----------------------------------------------------------------------------


def test_a_length_that_is_too_long(server, call, tmp_path):
    """It looks like a connection that was cut; the rest never comes."""
    wrong = len(PACKS[PNG]) + 100
    server.acts[PNG] = [Act(length=wrong, ranges=False) for _ in range(9)]
    assert_one_line(call(tmp_path), 1, "failed 7 times in a row: the connection was closed early")
    assert_incomplete(tmp_path)


def test_a_length_that_is_too_short(server, call, tmp_path):
    server.acts[PNG] = [Act(length=len(PACKS[PNG]) - 100)]
    assert_one_line(
        call(tmp_path), 1, "cannot be unpacked", "it was removed; run the command again"
    )
    assert_incomplete(tmp_path)
    assert not (tmp_path / PNG).exists()
    assert call(tmp_path).status == 0
    assert tree(tmp_path) == WHOLE | SUMS


@pytest.mark.parametrize("length", ["", "many", "-7", "1e3"])
def test_an_invalid_or_missing_length(server, call, tmp_path, length):
    server.acts[PNG] = [Act(length=length)]
    assert call(tmp_path).status == 0
    assert tree(tmp_path) == WHOLE | SUMS


def test_a_cut_without_a_length_is_detected_by_gzip(server, call, tmp_path):
    server.acts[PNG] = [Act(length="", cut=len(PACKS[PNG]) - 3)]
    assert_one_line(call(tmp_path), 1, "cannot be unpacked", "it was removed")
    assert_incomplete(tmp_path)


@pytest.mark.parametrize("told", [True, False])
def test_a_file_without_an_end_is_refused(server, call, monkeypatch, tmp_path, told):
    small = dataclasses.replace(_fetch.IMAGES["png"], max_bytes=50_000)
    monkeypatch.setitem(_fetch.IMAGES, "png", small)
    server.put(PNG, bytes(2**25))
    server.acts[PNG] = [Act(chunked=not told)]
    assert_one_line(call(tmp_path), 1, "longer than 50.0 kB")
    assert server.sent(PNG)[0] < 2**24
    assert_incomplete(tmp_path)
    assert not list(tmp_path.glob(f"{PNG}*"))


def test_a_wrong_content_encoding_is_ignored(server, call, tmp_path):
    """Some servers label a .tgz so, although its bytes are sent unchanged."""
    encoded = {"ETag": '"v1"', "Content-Encoding": "x-gzip"}
    server.put(PNG, PACKS[PNG], **encoded)
    server.acts[PNG] = [Act(cut=30_000)]
    assert call(tmp_path).status == 0
    assert sum(server.sent(PNG)) == len(PACKS[PNG])
    assert tree(tmp_path) == WHOLE | SUMS


# --- redirects and certificates ------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_and_the_download_resumed(server, call, tmp_path, status):
    server.put("there.tgz", PACKS[PNG])
    server.acts[PNG] = [Act(status=status, location=f"/{n}/there.tgz") for n in range(2)]
    server.acts["there.tgz"] = [Act(cut=30_000)]
    assert call(tmp_path).status == 0
    assert server.asked("there.tgz") == [None, "bytes=30000-"]
    assert tree(tmp_path) == WHOLE | SUMS


@pytest.mark.parametrize(
    "location",
    [
        "https://127.0.0.1/x",
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "data:,x",
        "/NLMCXR_png.tgz",
        "http://[::1",
        "http://127.0.0.1:99999/",
        "http://\xff\xfe/",
    ],
)
def test_a_redirect_to_another_scheme_or_in_a_circle_is_not_followed(
    server, call, tmp_path, location
):
    server.acts[PNG] = [Act(status=302, location=location) for _ in range(30)]
    assert_one_line(call(tmp_path), 1, server.url + PNG, "--url")
    assert_incomplete(tmp_path)
    assert len(server.asked(PNG)) <= 11


def test_certificates_are_checked(call, web, monkeypatch, tmp_path):
    certificate = http_server.write_certificate(tmp_path / "certificate.pem")
    root = tmp_path / "set"
    with serving(certificate) as secure:
        for name, content in PACKS.items():
            secure.put(name, content)
        assert secure.url.startswith("https://")
        last = assert_one_line(
            call(root, url=secure.url), 1, "certificate is not trusted", "REQUESTS_CA_BUNDLE"
        )
        assert re.search(r"self.signed certificate", last)
        assert (web.waits, secure.hits) == ([], [])
        assert_incomplete(root)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert call(root, url=secure.url).status == 0
        secure.acts[PNG] = [Act(status=302, location=f"{web.server.url}{PNG}")]
        assert_one_line(call(tmp_path / "b", url=secure.url), 1, "redirect to another protocol")
        assert web.server.hits == []
    assert tree(root) == WHOLE | SUMS
