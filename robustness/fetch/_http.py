"""Asking a server for a file, from some byte on: what it may answer, and what is tried again.

This is urllib, and on purpose: a server may label a .tgz ``Content-Encoding: x-gzip``, and
clients that are more helpful unpack it on the way. Then neither Content-Length nor a byte
range speaks of the bytes that arrive. urllib gives the bytes as they were sent.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, Request, build_opener

from robustness import __version__
from robustness.errors import FetchError, UsageError

BLOCK = 1 << 18

AGAIN = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
}
"""What is tried again beside all of 5xx."""


class Transient(Exception):  # noqa: N818 - becomes a FetchError when patience has an end
    """What may be gone at the next try.

    Attributes:
        wait: Seconds the server asks to wait; 0 where it does not say.
        stale: Whether what is there already is of no use.
    """

    def __init__(self, reason: str, *, wait: float = 0.0, stale: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.stale = stale


@dataclass(frozen=True, slots=True)
class Span:
    """Which bytes an answer holds.

    Attributes:
        start: The first.
        total: How many the whole file has, where the server says.
    """

    start: int
    total: int | None


def check_base(base: str) -> str:
    """The address of a folder, ending in a slash.

    Raises:
        UsageError: It is none that files can be fetched from.
    """
    try:
        parts = urlsplit(base)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        port_is_right = False
    if (
        not re.fullmatch(r"https?://[!-~]+", base)
        or not port_is_right
        or not parts.hostname
        or parts.username is not None
        or parts.query
        or parts.fragment
    ):
        raise UsageError(
            f"--url {base!r} is no address of a folder; allowed are http:// and https:// with"
            " a host and a path, without a user name, a query or a fragment"
        )
    return base.rstrip("/") + "/"


def get(url: str, headers: Mapping[str, str], timeout: float) -> HTTPResponse:
    """Asks for a file.

    Args:
        url: Its address, http or https.
        headers: What else to ask.
        timeout: Seconds to wait for a connection, and then for each piece.

    Returns:
        The answer, of status 200 or 206, its body unread.

    Raises:
        FetchError: The server will not give the file, or cannot be trusted.
        Transient: It did not this time.
    """
    asked = {"User-Agent": f"robustness-gate/{__version__}", **headers}
    request = Request(url, headers=asked)  # noqa: S310 - check_base saw to the scheme
    try:
        response = cast("HTTPResponse", _opener(url).open(request, timeout=timeout))
    except HTTPError as error:
        with error:
            raise _refused(url, error) from error
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise FetchError(
                f"{url}: the server's certificate cannot be trusted:"
                f" {error.reason.verify_message}; name another address with --url, or the"
                " certificates to trust in the environment variable SSL_CERT_FILE"
            ) from error
        raise Transient(_reason(error.reason)) from error
    except (OSError, HTTPException) as error:
        raise Transient(_reason(error)) from error
    if response.status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
        with response:
            raise FetchError(f"{url}: the server answers {response.status} and gives no file")
    return response


def blocks(response: HTTPResponse) -> Iterator[bytes]:
    """The body, piece by piece as it comes.

    Raises:
        Transient: The connection broke or stood still.
    """
    try:
        # read() would throw away what came of a block before the connection broke.
        while block := response.read1(BLOCK):
            yield block
    except (OSError, HTTPException) as error:
        raise Transient(_reason(error)) from error


def validator(response: HTTPResponse) -> str | None:
    """What names this version of the file in ``If-Range``; None where nothing does.

    A weak ETag may stay while bytes change (RFC 9110, 13.1.5), so it is not taken.
    """
    etag = response.headers.get("ETag", "")
    if re.fullmatch(r'"[!#-~]*"', etag):
        return etag
    modified = response.headers.get("Last-Modified", "")
    return modified if re.fullmatch(r"[ -~]+", modified) else None


def span(response: HTTPResponse) -> Span | None:
    """Which bytes an answer of status 206 holds; None where it does not say."""
    found = re.fullmatch(
        r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)",
        response.headers.get("Content-Range", "").strip(),
        re.ASCII,
    )
    if found is None:
        return None
    return Span(int(found[1]), None if found[3] == "*" else int(found[3]))


class _OneScheme(HTTPRedirectHandler):
    """Follows no redirect from https to http, nor to a file or to ftp."""

    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> Request | None:
        if urlsplit(newurl).scheme != req.type:
            fp.close()
            raise FetchError(
                f"{req.full_url}: the server leads to {newurl!r}, which is not {req.type}; if"
                " that is right, name its address with --url"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(url: str) -> OpenerDirector:
    # Where a redirect leads is of the same scheme, so https never goes without this context.
    if url.startswith("https:"):
        return build_opener(_OneScheme(), HTTPSHandler(context=ssl.create_default_context()))
    return build_opener(_OneScheme())


def _refused(url: str, error: HTTPError) -> FetchError | Transient:
    status = error.code
    # The server's own phrase could be anything.
    name = f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else f"{status}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in AGAIN:
        after = error.headers.get("Retry-After", "")
        wait = float(after) if re.fullmatch(r"[0-9]{1,6}", after) else 0.0
        stale = status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        return Transient(f"the server answers {name}", wait=wait, stale=stale)
    if status // 100 == HTTPStatus.MULTIPLE_CHOICES // 100:
        return FetchError(
            f"{url}: the server answers {name} and leads on and on, or to no web address; name"
            " an address that holds the file with --url"
        )
    return FetchError(
        f"{url}: the server answers {name}; name an address that holds the file with --url"
    )


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "the server does not answer in time"
    strerror = getattr(error, "strerror", None)
    text = strerror or " ".join(str(error).split()) or type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in str(text))[:200]
