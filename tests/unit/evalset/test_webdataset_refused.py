"""Invalid shards and samples are refused in one line that names them."""

from __future__ import annotations

import io
import tarfile

import pytest
from support.table_files import load, png, refuses, tar_of

from robustness.errors import EvaluationSetError

GOOD = ("a", {"png": png(0), "txt": "Clear."})

SAMPLES = {
    "a key in two places": (
        [GOOD, ("b", {"png": png(1), "txt": "x"}), ("a", {"txt": "x"})],
        "sample a: duplicate key, first in"),
    "two images": ([("a", {"png": png(), "jpg": png(), "txt": "x"})], "several images, a.png"),
    "two members of one extension": (
        [("a", {"png": png(), "PNG": png()})], "two members with the same extension: a.PNG"),
    "a UID for a name": (
        [("1.2.840.1", {"dcm": png(), "txt": "x"})],
        "sample 1: member '1.2.840.1.dcm' has the extension '2.840.1.dcm', which starts at"),
    "two reports": (
        [("a", {"png": png(), "txt": "x", "json": {"report": "y"}})],
        "sample a: .txt and .json both contain a report"),
    "a report in Latin-1": (
        [("a", {"png": png(), "txt": "Größe".encode("latin-1")})], "sample a.txt is not UTF-8"),
    "a report with NUL": ([("a", {"png": png(), "txt": "x\0"})], "sample a: report contains a NUL"),
    "a report that is nan": ([("a", {"png": png(), "txt": "nan"})], "sample a: report is 'nan'"),
    "invalid JSON": ([("a", {"png": png(), "json": "{"})], "sample a.json is not a JSON object"),
    "JSON with NaN": ([("a", {"png": png(), "json": '{"report": NaN}'})], "NaN is not JSON"),
    "JSON with a key twice": (
        [("a", {"png": png(), "json": '{"report": "x", "report": "y"}'})],
        "not a JSON object: duplicate key"),
    "a list": ([("a", {"png": png(), "json": "[]"})], "sample a.json is a JSON list, not an"),
    "a number for a report": (
        [("a", {"png": png(), "json": {"report": 3}})], "sample a: report is 3, of type int"),
    "a study with two reports": (
        [(k, {"png": png(i), "json": {"report": k, "study": "s"}}) for i, k in enumerate("ab")],
        "sample b: study 's' has another report than in"),
    "nothing": ([], "is empty: no image with a usable report (excluded: none)"),
    "a name with terminal escapes": (
        [("a\n\x1b[2J", {"png": png(), "txt": "\0"})], "sample a\\n\\x1b[2J: report contains a"),
}  # fmt: skip


@pytest.mark.parametrize(("samples", "message"), SAMPLES.values(), ids=SAMPLES)
def test_invalid_samples(tmp_path, samples, message):
    path = tar_of(tmp_path / "0.tar", samples)
    refuses(path, message, kind="webdataset")


def test_a_key_in_two_shards(tmp_path):
    for name in ("0.tar", "1.tar"):
        tar_of(tmp_path / name, [GOOD])
    with pytest.raises(
        EvaluationSetError, match=r"1\.tar, sample a: duplicate key, first in .*0\.tar"
    ):
        load(tmp_path / "{0,1}.tar", kind="webdataset")


# --- damaged archives, and members that are not regular files -----------------------------------


def header(name, length=0, kind=tarfile.REGTYPE, **pax):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.pax_headers = length, kind, pax
    info.linkname = "../../etc/passwd" if kind in {tarfile.SYMTYPE, tarfile.LNKTYPE} else ""
    return info.tobuf(tarfile.PAX_FORMAT)


def negative(size):
    """Return a header with a negative size, in the base-256 form of GNU tar."""
    block = bytearray(header("b.txt"))
    block[124:136] = size.to_bytes(12, "big", signed=True)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


END = b"\0" * 1024


def members_of(path):
    """Return an archive without its end marker, in whole blocks."""
    content = path.read_bytes().rstrip(b"\0")
    return content + b"\0" * (-len(content) % 512)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (
            header("b.png", kind=tarfile.SYMTYPE),
            "member 'b.png' is not a regular file (a link, sparse or special",
        ),
        (
            header("b.png", kind=tarfile.LNKTYPE),
            "member 'b.png' is not a regular file (a link, sparse or special",
        ),
        (
            header("b.png", kind=tarfile.FIFOTYPE),
            "member 'b.png' is not a regular file (a link, sparse or special",
        ),
        (
            header("b.png", kind=tarfile.BLKTYPE),
            "member 'b.png' is not a regular file (a link, sparse or special",
        ),
        (
            header("b.png", kind=tarfile.GNUTYPE_SPARSE),
            "is not a regular file (a link, sparse or special",
        ),
        (header("b.png", **{"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}), "0.tar"),
        (
            header("b.png", **{"GNU.sparse.map": "0,9", "GNU.sparse.size": "9"}),
            "is not a regular file (a link, sparse or",
        ),
        (negative(-512), "damaged at byte LAST: member 'b.txt' has -512 bytes"),
        (negative(-1024), "damaged at byte LAST: member 'b.txt' has -1024 bytes"),
        (negative(-(2**80)), "damaged at byte LAST"),
        (header("b.txt", size="-1536"), "member 'b.txt' has -1536 bytes"),
        (header("b.txt", size=str(2**40)), "0.tar is not a readable tar archive: unexpected"),
        (header("b.txt", 2**33), "not a readable tar archive: unexpected end of data"),
        (b"x" * 512, "is damaged or has data after its end, after byte LAST"),
        (b"\0" * 512 + header("b.txt"), "is damaged or has data after its end"),
    ],
)
def test_invalid_members(tmp_path, member, message):
    path = tar_of(tmp_path / "0.tar", [GOOD])
    whole = members_of(path)
    path.write_bytes(whole + END)
    assert len(load(path, kind="webdataset")) == 1
    path.write_bytes(whole + member + END)
    refuses(path, message.replace("LAST", str(len(whole))), kind="webdataset")


def test_truncated_archives(tmp_path):
    """Cut at any byte: either complete without the rest, or refused."""
    path = tar_of(tmp_path / "0.tar", [GOOD, ("b", {"png": png(1), "txt": "Mass."})])
    whole, last = path.read_bytes(), len(members_of(path))
    for size in [*range(0, last, 97), last - 1, last, last + 1, last + 511]:
        path.write_bytes(whole[:size])
        refuses(path, "0.tar", kind="webdataset")
    path.write_bytes(whole[:last])
    refuses(path, "is truncated: the end marker is missing; copy it again", kind="webdataset")
    for size in (last + 512, last + 1024, len(whole)):
        path.write_bytes(whole[:size])
        assert len(load(path, kind="webdataset")) == 2


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed_archives(tmp_path, mode):
    with tarfile.open(tmp_path / "0.tar", mode) as archive:
        info = tarfile.TarInfo("a.txt")
        info.size = 6
        archive.addfile(info, io.BytesIO(b"Clear."))
    refuses(tmp_path / "0.tar", "0.tar is not a readable tar archive", kind="webdataset")
