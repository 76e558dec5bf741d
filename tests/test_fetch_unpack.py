"""``fetch``: archives that are hostile, damaged or too large."""

from __future__ import annotations

import dataclasses
import gzip
import io
import random
import re
import shutil
import tarfile
import zlib

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

from robustness.cli import fetch as _fetch

from robustness.cli.fetch import DAMAGE, IMAGES, REPORTS as TEXTS, _unpack  # isort: skip

PNG_ARCHIVE, DICOM_ARCHIVE = IMAGES["png"], IMAGES["dcm"]
SMALL = dataclasses.replace(PNG_ARCHIVE, max_bytes=10**7)
FLAT = {path.removeprefix("NLMCXR_png/"): content for path, content in FILES[PNG].items()}
TAR = gzip.decompress(PACKS[PNG])


@pytest.fixture
def unpack(tmp_path):
    """Unpack bytes into ``tmp_path / "into"``."""

    def run(content, archive=PNG_ARCHIVE):
        path = tmp_path / archive.name
        path.write_bytes(content)
        shutil.rmtree(tmp_path / "into", ignore_errors=True)
        (tmp_path / "into").mkdir()
        return _unpack(path, archive, tmp_path / "into")

    return run


def headed(name="CXR9_IM-1.png", kind=tarfile.REGTYPE, size=0, link="", pax=None):
    """Return the header of one member, without content."""
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, size, link
    member.pax_headers = pax or {}
    return member.tobuf(tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT)


END = bytes(2 * tarfile.BLOCKSIZE)

# --- hostile members ---------------------------------------------------------------------

HOSTILE = {
    "up": headed("../evil.png"),
    "up from within": headed("NLMCXR_png/../../evil.png"),
    "up behind a dot": headed("./../CXR1_IM-1.png"),
    "up at the end": headed("NLMCXR_png/.."),
    "a folder up": headed("../", tarfile.DIRTYPE),
    "absolute": headed("/tmp/evil.png"),  # noqa: S108
    "absolute twice": headed("//CXR1_IM-1.png"),
    "absolute by an extended header": headed(pax={"path": "/etc/evil.png"}),
    "up by an extended header": headed(pax={"path": "../" * 60 + "evil.png"}),
    "another system's up": headed("..\\evil.png"),
    "another system's disk": headed("C:evil.png"),
    "a link": headed(kind=tarfile.SYMTYPE, link="/etc/passwd"),
    "a link within": headed(kind=tarfile.SYMTYPE, link="CXR1_IM-0001-1001.png"),
    "a hard link": headed(kind=tarfile.LNKTYPE, link="/etc/passwd"),
    "a hard link within": headed(kind=tarfile.LNKTYPE, link="CXR1_IM-0001-1001.png"),
    "a device": headed(kind=tarfile.CHRTYPE),
    "a disk": headed(kind=tarfile.BLKTYPE),
    "a pipe": headed(kind=tarfile.FIFOTYPE),
    "a sparse file": headed(pax={"GNU.sparse.map": "0,0", "GNU.sparse.size": "0"}),
    "too large a file": headed(size=2**43),
    "too large a file of another name": headed("README", size=2**43),
    "a negative size": headed(pax={"size": "-512"}),
    "a negative size of its own": headed(size=-512),
    "a header of 2 GB": headed("x", tarfile.XHDTYPE, size=2**31),
    "a name of 2 GB": headed("x", tarfile.GNUTYPE_LONGNAME, size=2**31),
    "a name of negative length": headed("x", tarfile.GNUTYPE_LONGNAME, size=-512),
    "headers without end": headed("x", tarfile.XHDTYPE) * 5000,
    "a name twice": packed({"CXR1_IM-0001-1001.png": b"x"}, mode="w")[:1024],
    "no header": b"\x01" * tarfile.BLOCKSIZE,
}


@pytest.mark.parametrize("member", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_member_is_refused(web, tmp_path, member):
    """The hostile member follows good ones."""
    root = tmp_path / "a" / "set"
    good = TAR[: TAR.rindex(b"IEND")]
    good += bytes(-len(good) % tarfile.BLOCKSIZE)
    web.server.put(PNG, gzip.compress(good + member + END, 1))
    assert_one_line(web.call(root), 1, PNG, "cannot be unpacked", "it was removed")
    assert_incomplete(root)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in root.parent.iterdir()] == ["set"]
    web.server.put(PNG, PACKS[PNG])
    assert web.call(root).status == 0
    assert tree(root) == WHOLE | SUMS


def test_the_same_archive_with_an_empty_file_is_accepted(web, tmp_path):
    good = TAR[: TAR.rindex(b"IEND")]
    good += bytes(-len(good) % tarfile.BLOCKSIZE)
    web.server.put(PNG, gzip.compress(good + headed() + END, 1))
    assert web.call(tmp_path).status == 0


def test_other_files_are_skipped_and_reported(web, tmp_path):
    names = ["README.txt", "._CXR1_IM-0001-1001.png", ".DS_Store", "x/CXR1.png", "CXR1.png/y.png"]
    names += ["CXR1.svg", "\x1b[31m.png", "ecgen-radiology/1.xml", "é.png", "sitecustomize.py"]
    web.server.put(PNG, packed(dict.fromkeys(names, b"x") | FLAT))
    ended = web.call(tmp_path)
    assert ended.status == 0
    assert f"skipped {len(names)} files" in ended.err
    assert "such as 'README.txt'" in ended.err
    assert tree(tmp_path).keys() == (WHOLE | SUMS).keys()
    assert tree(tmp_path).items() >= WHOLE.items()


def test_owners_permissions_and_times_are_ignored(unpack, tmp_path):
    unpack(packed(FLAT, mode="w:gz") and packed({"CXR1.png": b"x"}, uid=12345, mtime=1))
    made = (tmp_path / "into" / "CXR1.png").stat()
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        member = tarfile.TarInfo("CXR2.png")
        member.mode = 0o6777
        tar.addfile(member)
    unpack(content.getvalue())
    other = (tmp_path / "into" / "CXR2.png").stat()
    assert made.st_uid != 12345
    assert made.st_mtime > 10**9
    assert other.st_mode & 0o7111 == 0


@pytest.mark.parametrize(
    ("archive", "names"),
    [
        (TEXTS, ["ecgen-radiology/7.xml", "./ecgen-radiology/7.xml"]),
        (TEXTS, ["NLMCXR_reports/ecgen-radiology/7.xml"]),
        (PNG_ARCHIVE, ["7.png", "./7.png", "NLMCXR_png/7.png", "./NLMCXR_png/7.png"]),
        (DICOM_ARCHIVE, ["3/7.dcm", "./3/7.dcm", "NLMCXR_dcm/3/7.dcm"]),
    ],
)
def test_the_layouts_of_the_archives(unpack, tmp_path, archive, names):
    for name in names:
        folders = headed("./", tarfile.DIRTYPE) + headed("NLMCXR_png/", tarfile.DIRTYPE)
        assert unpack(gzip.compress(folders + packed({name: b"abc"}, mode="w")), archive) == []
        (path,) = tree(tmp_path / "into")
        assert re.fullmatch(r"(3/)?7\.(xml|png|dcm)", path)


# --- limits ------------------------------------------------------------------------------


def test_limits_on_members_and_on_bytes(unpack, monkeypatch):
    content = packed({"README": FLAT["CXR1_IM-0001-1001.png"]} | dict(list(FLAT.items())[1:]))
    unpack(content)
    with pytest.raises(DAMAGE, match=r"exceeds the limit of 80.0 kB"):
        unpack(content, dataclasses.replace(PNG_ARCHIVE, max_bytes=80_000))
    monkeypatch.setattr(_fetch, "MAX_FILES", 11)
    with pytest.raises(DAMAGE, match="member 12, .* or 11 members"):
        unpack(content)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("size", [2**20 + 1, 2**31, -512])
def test_a_header_is_not_read_into_memory_whatever_its_length(unpack, kind, size):
    content = headed("x", kind, size=size) + bytes(2**21)
    with pytest.raises(DAMAGE, match="a header of more than 1.0 MB"):
        unpack(gzip.compress(content, 1))


def test_a_bomb_behind_the_end(unpack, tmp_path):
    with pytest.raises(DAMAGE, match="unpacks to more than 10.0 MB"):
        unpack(gzip.compress(TAR + bytes(2**25), 1), SMALL)
    unpack(gzip.compress(TAR + bytes(2**20), 1), SMALL)
    assert tree(tmp_path / "into").keys() == FLAT.keys()


def test_a_bomb_stops_before_the_file_that_is_too_large(unpack, tmp_path):
    """128 MB of zeros, 130 kB packed."""
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb", compresslevel=1) as stream:
        stream.write(headed(size=2**27))
        for _ in range(128):
            stream.write(bytes(2**20))
    with pytest.raises(DAMAGE, match="exceeds the limit of 10.0 MB"):
        unpack(bomb.getvalue(), SMALL)
    assert tree(tmp_path / "into") == {}


# --- damage ------------------------------------------------------------------------------


def with_broken_block(at):
    """Return a gzip stream with a block of invalid type after ``at`` bytes (RFC 1951, 3.2.3)."""
    packing = zlib.compressobj(wbits=-15)
    body = packing.compress(TAR[:at]) + packing.flush(zlib.Z_FULL_FLUSH)
    return PACKS[PNG][:10] + body + b"\x07" * 50


DAMAGED = {
    "a page": b"<html>Please sign in</html>",
    "nothing in it": b"",
    "half a header": PACKS[PNG][:5],
    "half": PACKS[PNG][: len(PACKS[PNG]) // 2],
    "all but its checksum": PACKS[PNG][:-8],
    "all but its last byte": PACKS[PNG][:-1],
    "a wrong checksum": PACKS[PNG][:-6] + b"\0\0" + PACKS[PNG][-4:],
    "a block of no type": with_broken_block(20_000),
    "something behind": PACKS[PNG] + b"x" * 100,
    "no tar": gzip.compress(b"hello" * 1000),
    "an empty tar": gzip.compress(END),
    "a tar that ends within a file": gzip.compress(TAR[:-40_000][: TAR.rindex(b"IEND") - 5000]),
    "a tar that ends within a header": gzip.compress(TAR[:100]),
    "none of the collection": packed({"README": b"x"}),
    "the other archive": PACKS[REPORTS],
    "another packing": packed(FLAT, mode="w:xz"),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_archive_is_refused_and_fetched_anew(web, tmp_path, content):
    web.server.put(PNG, content)
    assert_one_line(web.call(tmp_path), 1, PNG)
    assert_incomplete(tmp_path)
    assert not (tmp_path / PNG).exists()
    web.server.put(PNG, PACKS[PNG], ETag='"v2"')
    assert web.call(tmp_path).status == 0
    assert tree(tmp_path) == WHOLE | SUMS


def test_a_damaged_archive_of_the_user_is_not_removed(web, tmp_path):
    (tmp_path / PNG).write_bytes(PACKS[PNG][:-9])
    assert_one_line(web.call(tmp_path), 1, str(tmp_path / PNG), "and run the command again")
    assert_incomplete(tmp_path)
    assert (tmp_path / PNG).read_bytes() == PACKS[PNG][:-9]
    assert web.server.asked(PNG) == []


def test_every_changed_bit_is_detected(unpack, tmp_path):
    draw = random.Random(5)  # noqa: S311
    whole = packed({f"CXR{n}.png": draw.randbytes(300) + b"text" * 90 for n in range(9)})
    unpack(whole)
    assert len(tree(tmp_path / "into")) == 9
    refused = 0
    for _ in range(80):
        made = bytearray(whole)
        made[draw.randrange(10, len(made))] ^= 1 << draw.randrange(8)
        try:
            unpack(bytes(made))
        except DAMAGE:
            refused += 1
        else:
            # A few bits of deflate are padding.
            assert gzip.decompress(made) == gzip.decompress(whole)
    assert refused > 70


def test_mutated_archives_are_read_or_refused(unpack, tmp_path):
    """The tar is changed before it is compressed, so the checksum of gzip is valid."""
    draw = random.Random(4)  # noqa: S311
    small = packed({f"CXR{n}.png": bytes([n]) * 40 * n for n in range(1, 9)}, mode="w")
    small += packed({"CXR9.png": b"x"}, mode="w", pax_headers={"comment": "x" * 300})
    read = refused = 0
    for _ in range(200):
        made = bytearray(small)
        for _ in range(draw.randint(1, 4)):
            made[draw.randrange(len(made))] = draw.choice([0, 32, 48, 53, 120, 128, 255])
        made = made[: draw.choice([len(made), draw.randrange(len(made))])]
        try:
            unpack(gzip.compress(bytes(made), 1))
        except DAMAGE:
            refused += 1
        else:
            read += 1
            assert tree(tmp_path / "into")
        assert {path.name for path in tmp_path.iterdir()} == {PNG, "into"}
    assert min(read, refused) > 20
