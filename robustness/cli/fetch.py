"""``fetch``: download the Open-i collection and unpack it into a folder.

pooch stores each download and checks its SHA-256; it cannot resume, so :func:`_download` does
that. Temporary files are in ``DIR/.fetching``. ``DIR/SHA256SUMS`` lists the archives that were
unpacked completely.
"""

from __future__ import annotations

import argparse
import errno
import gzip
import hashlib
import json
import re
import shlex
import shutil
import sys
import tarfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import IncompleteRead
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from robustness._util.files import write_whole
from robustness._util.text import counted
from robustness.errors import FetchError, UsageError

if TYPE_CHECKING:
    from requests import Response

BASE = "https://openi.nlm.nih.gov/imgs/collections/"
WORK, SUMS = ".fetching", "SHA256SUMS"
LICENCE = "CC BY-NC-ND 4.0; attribution: Kohli and Rosenman, Indiana University"

TIMEOUT = 30.0
"""Seconds to wait for a connection, and for each piece of a file."""

MAX_RETRIES = 6
"""Retries in a row with less than :data:`MIN_PROGRESS` new bytes."""

MAX_WAIT = 60.0
"""Seconds before a retry, at most."""

MIN_PROGRESS = MAX_READ = 1 << 20
MAX_FILES = 1 << 15


@dataclass(frozen=True, slots=True)
class Archive:
    """A gzipped tar archive of the collection.

    Attributes:
        name: File name below the base URL.
        folder: Folder for its files, by the name that ``open_i:DIR`` reads.
        member: Pattern of the members to unpack; group 1 is the path in the folder.
        max_bytes: Upper limit of its size, packed and unpacked.
    """

    name: str
    folder: str
    member: str
    max_bytes: int


REPORTS = Archive(
    "NLMCXR_reports.tgz",
    "ecgen-radiology",
    r"(?:\./)?(?:NLMCXR_reports/)?ecgen-radiology/(\d+\.xml)",
    2**28,
)
IMAGES = {
    "png": Archive(
        "NLMCXR_png.tgz", "NLMCXR_png", r"(?:\./)?(?:NLMCXR_png/)?(\w[\w.-]*\.png)", 2**33
    ),
    "dcm": Archive(
        "NLMCXR_dcm.tgz", "NLMCXR_dcm", r"(?:\./)?(?:NLMCXR_dcm/)?(\d+/\w[\w.-]*\.dcm)", 2**38
    ),
    "none": None,
}


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the subparsers of ``python -m robustness``."""
    parser = commands.add_parser(
        "fetch",
        help="download a public evaluation set and unpack it",
        description="Download the Indiana University chest X-ray collection (Open-i) and unpack"
        " it into DIR. Run the same command again to resume an interrupted download. If DIR is"
        " complete, nothing is downloaded.",
    )
    parser.add_argument("collection", choices=["open_i"], help="the collection: open_i")
    parser.add_argument("dir", type=Path, metavar="DIR", help="folder to unpack into")
    parser.add_argument(
        "--images",
        choices=list(IMAGES),
        default="png",
        help="png (1.4 GB), dcm (81 GB, DICOM) or none (default: %(default)s)",
    )
    parser.add_argument(
        "--url",
        default=BASE,
        metavar="BASE",
        help="URL of the folder that contains the archives (default: %(default)s)",
    )
    parser.add_argument(
        "--checksums",
        type=Path,
        metavar="FILE",
        help="accept only archives with the SHA-256 in FILE, such as the DIR/SHA256SUMS of an"
        " earlier download",
    )
    parser.add_argument(
        "--keep-archives", action="store_true", help="keep the archives in DIR after unpacking"
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Fill the folder, print a summary and return the exit status.

    Raises:
        UsageError: The folder, the URL or the checksums are invalid; nothing was changed.
        FetchError: The download failed; completed parts are kept for the next run.
        EvaluationSetError: The collection is complete but cannot be read.
    """
    from filelock import FileLock, Timeout

    root: Path = given.dir
    wanted = [archive for archive in (REPORTS, IMAGES[given.images]) if archive is not None]
    expected = _read_sums(given.checksums) if given.checksums else {}
    _check(root, given.url, wanted, expected)
    try:
        root.mkdir(parents=True, exist_ok=True)
        # The lock file stays: if it were removed, a third run could lock a new one.
        with FileLock(root / ".fetch.lock", timeout=0):
            missing = [archive for archive in wanted if not _is_unpacked(root, archive, expected)]
            paths = {archive: _retrieve(root, archive, given.url, expected) for archive in missing}
            # Reports last: without them the folder is not an evaluation set.
            for archive, path in reversed(paths.items()):
                _install(root, archive, path, expected.get(archive.name))
                if given.keep_archives:
                    path.replace(root / path.name)
                else:
                    path.unlink()
            if (root / WORK).exists():
                shutil.rmtree(root / WORK)
    except KeyboardInterrupt:
        _report(f"interrupted; run the command again to resume from {root}")
        raise
    except Timeout as error:
        raise FetchError(f"{root} is in use by another fetch; wait until it ends") from error
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        todo = "free some space and run the command again" if full else "choose another folder"
        raise FetchError(
            f"{error.filename or root} cannot be read or written: {error.strerror or error}; {todo}"
        ) from error
    sys.stdout.write("\n".join(_summary(root, fetched=bool(missing))) + "\n")
    return 0


def _check(root: Path, url: str, wanted: list[Archive], expected: Mapping[str, str]) -> None:
    """Check the options, and that the images would be read from the folder."""
    from robustness.evalset.open_i import _layout

    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is not a folder; choose a folder, new or existing")
    if not re.fullmatch(r"https?://[!-~]+", url) or set(url) & set("?#@"):
        raise UsageError(
            f"--url {url!r} is not the URL of a folder; allowed are http:// and https:// with a"
            " host and a path, without a user name, a query or a fragment"
        )
    for archive in wanted:
        if expected and archive.name not in expected:
            raise UsageError(f"--checksums has no line for {archive.name}; add it")
    for name in _layout.IMAGES:
        if len(wanted) == 1 or name == wanted[1].folder:
            break
        if (root / name).exists():
            raise UsageError(
                f"{root / name} exists, and images are read from it rather than from"
                f" {wanted[1].folder}; choose another folder, or fetch only reports: --images none"
            )


def _read_sums(path: Path) -> dict[str, str]:
    """Return the SHA-256 by file name, from a file in the format of sha256sum."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"checksums {path} cannot be read: {error}") from error
    sums = {}
    for number, line in enumerate(lines, 1):
        match = re.fullmatch(r"([0-9a-f]{64}) [ *](\S+)", line)
        if match is None:
            raise UsageError(
                f"checksums {path} line {number} is invalid; allowed are lines"
                " 'SHA256  NAME', as sha256sum prints them"
            )
        sums[match[2]] = match[1]
    return sums


def _unpacked(root: Path) -> dict[str, str]:
    """Return the SHA-256 of the archives that were unpacked into a folder."""
    return _read_sums(root / SUMS) if (root / SUMS).exists() else {}


def _is_unpacked(root: Path, archive: Archive, expected: Mapping[str, str]) -> bool:
    """Return True if the archive was unpacked; raise an error if its folder has other content."""
    folder = root / archive.folder
    if not folder.exists():
        return False
    sha256 = _unpacked(root).get(archive.name)
    if sha256 and expected.get(archive.name, sha256) == sha256:
        return True
    problem = (
        f"is from an archive with another checksum, SHA-256 {sha256}"
        if sha256
        else f"is not from this command: {root / SUMS} does not list {archive.name}"
    )
    raise FetchError(
        f"{folder} exists and {problem}; move it away and run the command again, or choose"
        " another folder"
    )


# --- download ----------------------------------------------------------------------------


def _retrieve(root: Path, archive: Archive, base: str, expected: Mapping[str, str]) -> Path:
    """Return the archive's file; download it if it is not in the folder."""
    path, work = root / archive.name, root / WORK
    if path.exists():
        _report(f"using the existing {path}")
        return path
    try:
        import pooch
    except ImportError as error:
        raise UsageError(
            "fetch needs the package pooch; install it: pip install 'robustness-gate[fetch]'"
        ) from error

    def download(url: str, output_file: str, _pooch: object) -> None:
        part = work / f"{archive.name}.part"
        _download(url, part, archive.max_bytes)
        part.replace(output_file)

    url = f"{base.rstrip('/')}/{archive.name}"
    _report(f"fetching {url}")
    pooch.get_logger().setLevel("WARNING")
    known_hash = expected.get(archive.name)
    try:
        return Path(pooch.retrieve(url, known_hash, archive.name, work, downloader=download))
    except ValueError as error:
        raise FetchError(f"{url}: {error}") from error


class _RetryError(Exception):
    """A failure that a retry may fix; ``wait`` are the seconds that the server asks for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def _download(url: str, part: Path, max_bytes: int) -> None:
    """Download a file, and resume after errors and from an earlier part."""
    failures, furthest = 0, _size(part)
    while True:
        try:
            return _transfer(url, part, max_bytes)
        except _RetryError as error:
            # Counted from the furthest point: a server that always starts over and always
            # fails makes no progress.
            failures = 1 if _size(part) >= furthest + MIN_PROGRESS else failures + 1
            furthest = max(furthest, _size(part))
            problem = f"{error}; {amount(_size(part))} are kept"
            if failures > MAX_RETRIES:
                raise FetchError(
                    f"{url}: failed {failures} times in a row: {problem}, run the command again"
                    " to resume"
                ) from error
            wait = min(MAX_WAIT, max(2.0 ** (failures - 1), error.wait))
            _report(f"{part.stem}: {problem}; retry {failures} of {MAX_RETRIES} in {wait:.0f} s")
            time.sleep(wait)


def _transfer(url: str, part: Path, max_bytes: int) -> None:
    """Request the rest of a file once, and append it.

    ``NAME.part.json`` has the URL and the version of the partial file. The server is asked to
    continue that version only (``If-Range``).
    """
    from tqdm import tqdm

    state = part.with_name(f"{part.name}.json")
    size, version = _size(part), _stored_version(state, url)
    headers = {"Range": f"bytes={size}-", "If-Range": version} if size and version else {}
    with _get(url, headers) as response:
        content_range = response.headers.get("Content-Range", "")
        if headers and content_range == f"bytes */{size}":
            return
        partial = headers and response.status_code == HTTPStatus.PARTIAL_CONTENT
        same = content_range.startswith(f"bytes {size}-") and _version(response) in {None, version}
        if not (partial and same):
            if size:
                _report(
                    f"{part.stem}: cannot resume, because the server does not support it, the file"
                    f" has changed or {state.name} is damaged; {amount(size)} are lost"
                )
            # The state first: it must never describe bytes of another version.
            state.unlink(missing_ok=True)
            part.unlink(missing_ok=True)
            if response.status_code != HTTPStatus.OK:
                raise _RetryError("the server sent other bytes than requested")
            write_whole(state, json.dumps({"url": url, "version": _version(response)}).encode())
            size = 0
        rest = response.raw.length_remaining
        with (
            part.open("ab") as file,
            tqdm(
                total=rest and size + rest,
                initial=size,
                desc=part.stem,
                unit="B",
                unit_scale=True,
                leave=False,
                disable=not sys.stderr.isatty(),
            ) as bar,
        ):
            for block in _blocks(response):
                bar.update(file.write(block))
                if file.tell() > max_bytes:
                    part.unlink()
                    raise FetchError(f"{url}: longer than {amount(max_bytes)}; check --url")
            received = file.tell() - size
    # An answer that was cut within its headers seems to have no length and no body.
    if received < (rest or 1):
        raise _RetryError("the connection was closed early")


def _stored_version(state: Path, url: str) -> str | None:
    try:
        stored = json.loads(state.read_text(encoding="utf-8"))
        usable = stored["url"] == url and re.fullmatch(r"[ -~]+", stored["version"])
        return str(stored["version"]) if usable else None
    except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _version(response: Response) -> str | None:
    """Return the strong ETag or the modification time; None if there is neither.

    A weak ETag may stay the same while bytes change (RFC 9110, 13.1.5).
    """
    etag = response.headers.get("ETag", "")
    modified: str | None = response.headers.get("Last-Modified")
    return etag if re.fullmatch(r'"[!#-~]*"', etag) else modified


@contextmanager
def _get(url: str, headers: Mapping[str, str]) -> Iterator[Response]:
    """Yield the response with status 200, 206 or, to a range request, 416; its body is unread."""
    import requests

    # Encoded answers have neither the length nor the byte ranges of the file.
    headers = {"Accept-Encoding": "identity", **headers}
    with requests.Session() as session:
        session.hooks["response"] = [_check_redirect]
        session.max_redirects = 10
        try:
            with session.get(url, headers=headers, timeout=TIMEOUT, stream=True) as response:
                _check_status(url, response, ranged="Range" in headers)
                yield response
        except requests.exceptions.SSLError as error:
            raise FetchError(
                f"{url}: the server's certificate is not trusted: {_reason(error)}; check --url, or"
                " set REQUESTS_CA_BUNDLE to the certificates to trust"
            ) from error
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _RetryError(_reason(error)) from error
        except (requests.RequestException, ValueError) as error:
            raise FetchError(
                f"{url}: too many redirects, or a malformed URL or redirect: {_reason(error)};"
                " check --url"
            ) from error


def _check_status(url: str, response: Response, *, ranged: bool) -> None:
    status = response.status_code
    if status in {200, 206} or (ranged and status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        return
    # The server's own phrase is not printed.
    phrase = f" {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else ""
    message = f"the server answers {status}{phrase}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in {408, 425, 429}:
        after = response.headers.get("Retry-After", "")
        raise _RetryError(message, float(after) if re.fullmatch(r"[0-9]{1,6}", after) else 0.0)
    raise FetchError(f"{url}: {message}; choose a URL that has the file with --url")


def _blocks(response: Response) -> Iterator[bytes]:
    """Yield the bytes of the body as they arrive."""
    from urllib3.exceptions import HTTPError

    try:
        # Unlike read, read1 loses no received bytes if the connection fails. Servers may label
        # a .tgz "Content-Encoding: x-gzip"; it must not be decoded.
        while block := response.raw.read1(MAX_READ, decode_content=False):
            yield block
    except (HTTPError, OSError) as error:
        raise _RetryError(_reason(error)) from error


def _check_redirect(response: Response, **_settings: Any) -> None:
    """Refuse a redirect to another protocol, such as from https to http."""
    if response.is_redirect:
        target = urljoin(response.url, response.headers["location"])
        if urlsplit(target).scheme != urlsplit(response.url).scheme:
            raise FetchError(
                f"{response.url}: redirect to another protocol, {target!r}; if that is right, name"
                " that URL with --url"
            )


def _reason(error: BaseException) -> str:
    """Return the innermost cause in one line."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    if isinstance(error, TimeoutError):
        return "the server does not answer in time"
    if isinstance(error, IncompleteRead):
        return "the connection was closed early"
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())[:300] or type(error).__name__


# --- unpacking ---------------------------------------------------------------------------


def _install(root: Path, archive: Archive, path: Path, expected: str | None) -> None:
    """Unpack an archive into its folder, and add it to ``SHA256SUMS``."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if expected and sha256 != expected:
        raise FetchError(
            f"archive {path} has SHA-256 {sha256}, and --checksums requires {expected}; move it"
            " away and run the command again to download it"
        )
    staged = root / WORK / archive.folder
    if staged.exists():
        shutil.rmtree(staged)
    staged.mkdir(parents=True)
    try:
        skipped = _unpack(path, archive, staged)
    except DAMAGE as error:
        todo = f"remove {path} and run"
        if path.parent != root:
            path.unlink()
            todo = "it was removed; run"
        raise FetchError(
            f"archive {path} cannot be unpacked: {_reason(error)}; {todo} the command again to"
            " download it, or choose another URL with --url"
        ) from error
    if skipped:
        _report(f"{path.name}: skipped {counted(len(skipped), 'file')}, such as {skipped[0]!r}")
    _report(f"SHA-256 of {archive.name}: {sha256}")
    sums = _unpacked(root) | {archive.name: sha256}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    # Before the folder is moved: a folder without an entry would be refused in the next run.
    write_whole(root / SUMS, lines.encode())
    staged.rename(root / archive.folder)


DAMAGE = (
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    ValueError,
    OverflowError,
    RecursionError,
)
"""Exceptions of gzip and tarfile on bytes that are not an archive."""


class _BoundedGzip(gzip.GzipFile):
    """A gzip stream that refuses large reads: tarfile reads a whole header into memory."""

    last = b""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_READ:
            raise tarfile.ReadError(f"it has a header of more than {amount(MAX_READ)}")
        self.last = super().read(size)
        return self.last


def _unpack(file: Path, archive: Archive, folder: Path) -> list[str]:
    """Unpack the files of the collection; return the names of other files, which are skipped.

    Members that leave the folder are refused, and only plain files with a name of the collection
    are written. Owners, permissions and times are ignored.
    """
    names: set[str] = set()
    skipped: list[str] = []
    with _BoundedGzip(file) as stream, tarfile.TarFile(fileobj=stream, errorlevel=2) as tar:
        for number, member in enumerate(tar, 1):
            _check_member(number, member, archive)
            match = re.fullmatch(archive.member, member.name, re.ASCII)
            if match is None:
                skipped += [] if member.isdir() else [member.name]
            elif match[1] in names:
                raise tarfile.ReadError(f"it has {match[1]!r} twice")
            elif member.isreg():
                names.add(match[1])
                renamed = member.replace(name=match[1], deep=False)
                tar.extract(renamed, folder, set_attrs=False, filter="data")
        # tarfile takes a header that it cannot read for the end.
        if stream.last.strip(b"\0"):
            raise tarfile.ReadError("it has a header that cannot be read")
        # The checksum of gzip is at the end, behind the padding of tar.
        while stream.read(MAX_READ):
            if stream.tell() > archive.max_bytes:
                raise tarfile.ReadError(f"it unpacks to more than {amount(archive.max_bytes)}")
    if not names:
        raise tarfile.ReadError("it has no file of the collection")
    return skipped


def _check_member(number: int, member: tarfile.TarInfo, archive: Archive) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or re.search(r"[:\\]", member.name):
        raise tarfile.ReadError(f"member {member.name!r} is outside the folder")
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise tarfile.ReadError(f"member {member.name!r} is neither a plain file nor a folder")
    end = member.offset_data + member.size
    if member.size < 0 or end > archive.max_bytes or number > MAX_FILES:
        raise tarfile.ReadError(
            f"member {number:,}, {member.name!r}, exceeds the limit of"
            f" {amount(archive.max_bytes)} or {MAX_FILES:,} members"
        )


# --- messages ----------------------------------------------------------------------------


def _summary(root: Path, *, fetched: bool) -> list[str]:
    """Count the files of the collection, and name the next command."""
    from robustness.evalset.open_i import _layout
    from robustness.evalset.open_i._report import read_study

    studies = [read_study(path) for path in _layout.reports_folder(root).glob("*.xml")]
    images = _layout.image_files(root).paths
    named = {_layout.key(image) for study in studies for image in study.images}
    absent = len(named - images.keys())
    complete = "" if fetched else "; complete, nothing was downloaded"
    lines = [
        f"{root}: {counted(len(studies), 'report')} and {counted(len(images), 'image')}{complete}",
        f"licence: {LICENCE}",
        f"checksums of the archives: {root / SUMS}",
    ]
    spec = f"open_i:{root}"
    if not images:
        todo = f"python -m robustness fetch open_i {shlex.quote(str(root))}"
        return [*lines, f"next, for the images: {todo}"]
    if absent:
        lines.append(f"missing: {counted(absent, 'image')} that reports name")
        spec += ",missing=exclude"
    return [*lines, f"next: pytest -m robustness --robustness-evalset {shlex.quote(spec)}"]


def amount(size: int) -> str:
    """Return a number of bytes in decimal units.

    Example:
        >>> amount(1_400_000_000)
        '1.4 GB'
    """
    for unit, value in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= value:
            return f"{size / value:.1f} {unit}"
    return f"{size} bytes"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _report(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
