"""A small collection on a local server, and the ``fetch`` command run against it."""

from __future__ import annotations

import hashlib
import io
import tarfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pytest
from http_server import Server, serving
from PIL import Image as PilImage

from robustness import __main__, evalset
from robustness.cli import fetch as _fetch
from robustness.errors import UsageError

PNG = "NLMCXR_png.tgz"
REPORTS = "NLMCXR_reports.tgz"

# --- a collection ------------------------------------------------------------------------


def packed(files, *, mode="w:gz", **attributes):
    """A tar archive of files by name, in the collection's form: no folders, no owners."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for key, value in attributes.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def image_bytes(number, side=128):
    """A frontal-like radiograph with noise, so that it does not compress; its PNG file."""
    column = np.full(side, 40)
    column[side * 7 // 16 : side * 9 // 16] = 220
    column[: side // 8] = column[-side // 8 :] = 150
    noise = np.random.default_rng(number).integers(0, 8, (side, side))
    out = io.BytesIO()
    PilImage.fromarray((column + noise).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def report_bytes(number, images):
    named = "".join(f'<parentImage id="{image}"/>' for image in images)
    text = f'<AbstractText Label="FINDINGS">Finding {number}.</AbstractText>'
    return f'<eCitation><uId id="CXR{number}"/>{text}{named}</eCitation>'.encode()


def collection(studies=12):
    """The files of a small collection, by archive, as they unpack: ``{archive: {path: bytes}}``."""
    reports, images = {}, {}
    for number in range(1, studies + 1):
        name = f"CXR{number}_IM-{number:04}-1001"
        reports[f"ecgen-radiology/{number}.xml"] = report_bytes(number, [name])
        images[f"NLMCXR_png/{name}.png"] = image_bytes(number)
    return {"NLMCXR_reports.tgz": reports, "NLMCXR_png.tgz": images}


def archives(files):
    """The archives as the server of the collection has them: the images lie flat."""
    return {
        name: packed({path.removeprefix("NLMCXR_png/"): c for path, c in inner.items()})
        for name, inner in files.items()
    }


def tree(root):
    """Return the content of all files that are not hidden, by path."""
    found = {}
    with suppress(FileNotFoundError):
        for path in root.rglob("*"):
            parts = path.relative_to(root).parts
            if path.is_file() and not any(part.startswith(".") for part in parts):
                found["/".join(parts)] = path.read_bytes()
    return found


FILES = collection()
PACKS = archives(FILES)
WHOLE = FILES[REPORTS] | FILES[PNG]
"""The folder after a complete fetch, without the checksums."""

SUMS = {
    "SHA256SUMS": "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for name, content in sorted(PACKS.items())
    ).encode()
}

assert len(PACKS[PNG]) > 75_000, "too short for the cuts that the tests make"

# --- the command -------------------------------------------------------------------------


class Ended(NamedTuple):
    status: int
    out: str
    err: str


@dataclass
class Bench:
    """A server that holds the collection, and the command that fetches from it.

    ``waits``: the seconds of each wait before a retry; no time passes. Stalls time out soon.
    """

    server: Server
    capsys: pytest.CaptureFixture
    waits: list = field(default_factory=list)

    def call(self, root, *options, url=None):
        """Runs the command as ``python -m robustness fetch open_i`` does."""
        given = ["fetch", "open_i", str(root), "--url", url or self.server.url, *options]
        status = __main__.main(given)
        return Ended(status, *self.capsys.readouterr())


@contextmanager
def bench(monkeypatch, capsys):
    # A proxy of this machine must not be used.
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        for name, content in PACKS.items():
            server.put(name, content)
        made = Bench(server, capsys)
        monkeypatch.setattr(_fetch, "TIMEOUT", 0.4)
        monkeypatch.setattr("time.sleep", made.waits.append)
        yield made


def assert_one_line(ended, status, *words):
    """Assert that the last line is the error, without a traceback; return it."""
    assert ended.status == status, ended.err
    assert ended.out == ""
    assert ended.err.endswith("\n")
    assert "Traceback" not in ended.err
    last = ended.err.splitlines()[-1]
    for word in words:
        assert word in last
    return last


def assert_incomplete(root):
    """Assert that a failed run left no folder that can be read as an evaluation set."""
    left = {path.name for path in root.iterdir()} if root.exists() else set()
    assert left <= {".fetch.lock", ".fetching", PNG, REPORTS, "SHA256SUMS"}
    with pytest.raises(UsageError):
        evalset.check_spec(f"open_i:{root}")
