"""A local web server with scripted faults."""

from __future__ import annotations

import base64
import re
import socket
import ssl
import struct
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STALL = 5.0
"""Maximum seconds of a stall, so that no thread outlives its test."""


@dataclass
class Act:
    """The faults of one answer; the default has none.

    ``cut``: close the connection after this many bytes of the body; ``reset``: by RST, not FIN;
    ``stall``: keep it open and send nothing. ``ranges``: heed the Range header.
    ``shift``: start a range this many bytes later. ``length``: a wrong Content-Length, or ""
    for none. ``before``: called first, to change the server's files.
    """

    status: int = 0
    location: str = ""
    headers: dict = field(default_factory=dict)
    cut: int | None = None
    reset: bool = False
    stall: bool = False
    ranges: bool = True
    heed_if_range: bool = True
    shift: int = 0
    length: int | str | None = None
    chunked: bool = False
    before: Callable[[], object] = lambda: None


@dataclass
class Hit:
    """A request, and the bytes of the body that were sent."""

    name: str
    range: str | None
    if_range: str | None
    status: int = 0
    sent: int = 0


class Server(ThreadingHTTPServer):
    """A server of ``files``; ``acts[name]`` are the faults of the next answers for a file."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.names = {}, {}
        self.acts = defaultdict(list)
        self.hits = []
        self.released = threading.Event()
        self.stalled = threading.Event()
        self.scheme = "http"

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.server_port}/imgs/collections/"

    def put(self, name, content, **headers):
        """Add a file with ETag "v1", or with the given headers."""
        self.files[name] = content
        self.names[name] = headers or {"ETag": '"v1"'}

    def sent(self, name):
        return [hit.sent for hit in self.hits if hit.name == name]

    def asked(self, name):
        return [hit.range for hit in self.hits if hit.name == name]

    def handle_error(self, request, client_address):
        """Ignore clients that close the connection."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format, *args):  # noqa: A002
        pass

    def do_GET(self):
        self.close_connection = True
        name = self.path.rpartition("/")[2]
        hit = Hit(name, self.headers["Range"], self.headers["If-Range"])
        acts = self.server.acts[name]
        act = acts.pop(0) if acts else Act()
        self.server.hits.append(hit)
        act.before()
        content = self.server.files.get(name)
        hit.status = act.status or (404 if content is None else 200)
        if hit.status >= 300 or content is None:
            self._head(hit.status, act.headers | {"Location": act.location, "Content-Length": 0})
            return
        start = self._start(act, hit)
        if start is not None and start >= len(content):
            hit.status = 416
            total = {"Content-Range": f"bytes */{len(content)}", "Content-Length": 0}
            self._head(hit.status, total)
            return
        headers = dict(self.server.names[name])
        if start is not None:
            hit.status = 206
            start += act.shift
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._body(act, hit, headers | act.headers, content[start or 0 :])

    def _start(self, act, hit):
        found = re.fullmatch(r"bytes=(\d+)-", hit.range or "")
        if found is None or not act.ranges:
            return None
        current = self.server.names[hit.name].values()
        if act.heed_if_range and hit.if_range is not None and hit.if_range not in current:
            return None
        return int(found[1])

    def _head(self, status, headers):
        self.send_response_only(status)
        for key, value in headers.items():
            if value != "":
                self.send_header(key, str(value))
        self.send_header("Connection", "close")
        self.end_headers()

    def _body(self, act, hit, headers, body):
        length = len(body) if act.length is None else act.length
        wire = {"Transfer-Encoding": "chunked"} if act.chunked else {"Content-Length": length}
        self._head(hit.status, headers | wire)
        body = body if act.cut is None else body[: act.cut]
        for at in range(0, len(body), 4096):
            piece = body[at : at + 4096]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if act.chunked else piece)
            hit.sent += len(piece)
        if act.chunked and act.cut is None:
            self.wfile.write(b"0\r\n\r\n")
        if act.stall:
            self.server.stalled.set()
            self.server.released.wait(STALL)
        if act.reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


@contextmanager
def serving(certificate=None):
    """Run a server in a thread; with TLS if a certificate file is given."""
    server = Server()
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.scheme = "https"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join(STALL)


# For 127.0.0.1, self-signed, valid 2020 to 2120; used by tests only.
KEY = (
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjmqP/tZzMpIRCVds3KKiPHs3voh+p7sSQzjM+xed9uKh"
    "RANCAATeWkYOvjKLap9HwMthfLKxhi5LbXV5kCSIujjnV0FZm704dDx1saHBvDHIJ3h4fa2PvJLqvDwZywyS+F8omo2Q"
)
CERTIFICATE = (
    "MIIBWzCCAQKgAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAkxMjcuMC4wLjEwIBcNMjAwMTAxMDAwMDAwWhgP"
    "MjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMMCTEyNy4wLjAuMTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABN5aRg6+"
    "Motqn0fAy2F8srGGLkttdXmQJIi6OOdXQVmbvTh0PHWxocG8McgneHh9rY+8kuq8PBnLDJL4XyiajZCjQzBBMA8GA1Ud"
    "EwEB/wQFMAMBAf8wDwYDVR0RBAgwBocEfwAAATAdBgNVHQ4EFgQUvgdYMyfPLBlvudkyy65tbe0M5kIwCgYIKoZIzj0E"
    "AwIDRwAwRAIgJ41qa6ugWYoZxYVN0bVUatqU0xlRuIDS1Y/mwUA758oCIF16zpz52trVnPTbTS7Hiwvha+zJ7Z+ASwQr"
    "D9oHXdqN"
)


def write_certificate(path):
    """Write the certificate and its key in PEM format."""
    parts = ((KEY, "PRIVATE KEY"), (CERTIFICATE, "CERTIFICATE"))
    lines = []
    for text, kind in parts:
        body = base64.encodebytes(base64.b64decode(text)).decode()
        lines.append(f"-----BEGIN {kind}-----\n{body}-----END {kind}-----\n")
    path.write_text("".join(lines))
    return path
