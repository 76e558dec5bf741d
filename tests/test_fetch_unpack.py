"""``fetch`` unpacks safely: what is damaged, hostile, too large, or there already."""

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
    WHOLE,
    nothing_is_taken_for_whole,
    packed,
    said_in_one_line,
    tree,
)

from robustness.fetch import Console

from robustness.fetch._archives import DICOM, PNG as IMAGES, REPORTS as TEXTS  # isort: skip
from robustness.fetch._unpack import BadArchiveError, unpack

QUIET = Console(lambda _: None)
FLAT = {path.removeprefix("NLMCXR_png/"): content for path, content in FILES[PNG].items()}
TAR = gzip.decompress(PACKS[PNG])


@pytest.fixture
def opened(tmp_path):
    """Unpacks bytes into ``tmp_path / "into"``."""

    def run(content, archive=IMAGES):
        path = tmp_path / archive.name
        path.write_bytes(content)
        shutil.rmtree(tmp_path / "into", ignore_errors=True)
        (tmp_path / "into").mkdir()
        return unpack(path, archive, tmp_path / "into", QUIET)

    return run


def headed(name="CXR9_IM-1.png", kind=tarfile.REGTYPE, size=0, link="", pax=None):
    """One member's header, and no content."""
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, size, link
    member.pax_headers = pax or {}
    return member.tobuf(tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT)


END = bytes(2 * tarfile.BLOCKSIZE)

# --- what is hostile ---------------------------------------------------------------------

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
    "too large a file": headed(size=2**26 + 1),
    "a far too large file": headed(size=2**43),
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
    """It stands behind good ones, as whoever means harm would place it."""
    root = tmp_path / "a" / "set"
    good = TAR[: TAR.rindex(b"IEND")]
    good += bytes(-len(good) % tarfile.BLOCKSIZE)
    web.server.put(PNG, gzip.compress(good + member + END, 1))
    said_in_one_line(web.call(root), 1, PNG, "cannot be unpacked", "it was removed")
    nothing_is_taken_for_whole(root)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in root.parent.iterdir()] == ["set"]
    web.server.put(PNG, PACKS[PNG])
    assert web.call(root).status == 0
    assert tree(root) == WHOLE


def test_the_same_without_a_hostile_member_is_not(web, tmp_path):
    good = TAR[: TAR.rindex(b"IEND")]
    good += bytes(-len(good) % tarfile.BLOCKSIZE)
    web.server.put(PNG, gzip.compress(good + headed() + END, 1))
    assert web.call(tmp_path).status == 0


def test_what_is_none_of_the_collection_is_left_out_and_named(web, tmp_path):
    names = ["README.txt", "._CXR1_IM-0001-1001.png", ".DS_Store", "x/CXR1.png", "CXR1.png/y.png"]
    names += ["CXR1.svg", "\x1b[31m.png", "ecgen-radiology/1.xml", "é.png", "sitecustomize.py"]
    web.server.put(PNG, packed(dict.fromkeys(names, b"x") | FLAT))
    ended = web.call(tmp_path)
    assert ended.status == 0
    assert f"left out {len(names)} files" in ended.err
    assert "such as 'README.txt'" in ended.err
    assert tree(tmp_path) == WHOLE


def test_owners_permissions_and_times_are_ignored(opened, tmp_path):
    opened(packed(FLAT, mode="w:gz") and packed({"CXR1.png": b"x"}, uid=12345, mtime=1))
    made = (tmp_path / "into" / "CXR1.png").stat()
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        member = tarfile.TarInfo("CXR2.png")
        member.mode = 0o6777
        tar.addfile(member)
    opened(content.getvalue())
    other = (tmp_path / "into" / "CXR2.png").stat()
    assert made.st_uid != 12345
    assert made.st_mtime > 10**9
    assert other.st_mode & 0o7111 == 0


@pytest.mark.parametrize(
    ("archive", "names"),
    [
        (TEXTS, ["ecgen-radiology/7.xml", "./ecgen-radiology/7.xml"]),
        (TEXTS, ["NLMCXR_reports/ecgen-radiology/7.xml"]),
        (IMAGES, ["7.png", "./7.png", "NLMCXR_png/7.png", "./NLMCXR_png/7.png"]),
        (DICOM, ["3/7.dcm", "./3/7.dcm", "NLMCXR_dcm/3/7.dcm"]),
    ],
)
def test_the_forms_that_the_archives_have(opened, archive, names):
    for name in names:
        folders = headed("./", tarfile.DIRTYPE) + headed("NLMCXR_png/", tarfile.DIRTYPE)
        found = opened(gzip.compress(folders + packed({name: b"abc"}, mode="w")), archive)
        (held,) = found.sizes
        assert re.fullmatch(r"(3/)?7\.(xml|png|dcm)", held)
        assert found.left_out == []


# --- limits ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [("members", 11, "more than 11 members"), ("unpacked_bytes", 80_000, "80.0 kB")],
)
def test_limits_on_members_and_on_bytes(opened, limit, value, words):
    content = packed({"README": FLAT["CXR1_IM-0001-1001.png"]} | dict(list(FLAT.items())[1:]))
    opened(content)
    with pytest.raises(BadArchiveError, match=words):
        opened(content, dataclasses.replace(IMAGES, **{limit: value}))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("size", [2**20 + 1, 2**31, -512])
def test_a_header_is_not_read_into_memory_whatever_its_length(opened, kind, size):
    content = headed("x", kind, size=size) + bytes(2**21)
    with pytest.raises(BadArchiveError, match="a header of more than 1.0 MB"):
        opened(gzip.compress(content, 1))


def test_a_bomb_behind_the_end(opened):
    with pytest.raises(BadArchiveError, match="goes on after its end"):
        opened(gzip.compress(TAR + bytes(2**25), 1))
    assert opened(gzip.compress(TAR + bytes(2**20), 1)).sizes.keys() == FLAT.keys()


def test_a_real_bomb_stops_at_the_first_file_that_is_too_large(opened, tmp_path):
    """128 MB of zeros, 130 kB packed."""
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb", compresslevel=1) as stream:
        stream.write(headed(size=2**27))
        for _ in range(128):
            stream.write(bytes(2**20))
    with pytest.raises(BadArchiveError, match="134217728 bytes"):
        opened(bomb.getvalue())
    assert tree(tmp_path / "into") == {}


# --- damage ------------------------------------------------------------------------------


def with_broken_block(at):
    """Deflated, with a block behind so many bytes whose type there is not (RFC 1951, 3.2.3)."""
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
    said_in_one_line(web.call(tmp_path), 1, PNG)
    nothing_is_taken_for_whole(tmp_path)
    assert not (tmp_path / PNG).exists()
    web.server.put(PNG, PACKS[PNG], ETag='"v2"')
    assert web.call(tmp_path).status == 0
    assert tree(tmp_path) == WHOLE


def test_a_damaged_archive_of_somebody_s_own_is_not_removed(web, tmp_path):
    (tmp_path / PNG).write_bytes(PACKS[PNG][:-9])
    said_in_one_line(web.call(tmp_path), 1, str(tmp_path / PNG), "remove it and call again")
    nothing_is_taken_for_whole(tmp_path)
    assert (tmp_path / PNG).read_bytes() == PACKS[PNG][:-9]
    assert web.server.asked(PNG) == []


def test_no_change_of_what_is_packed_goes_unseen(opened):
    draw = random.Random(5)  # noqa: S311
    whole = packed({f"CXR{n}.png": draw.randbytes(300) + b"text" * 90 for n in range(9)})
    assert len(opened(whole).sizes) == 9
    refused = 0
    for _ in range(80):
        made = bytearray(whole)
        made[draw.randrange(10, len(made))] ^= 1 << draw.randrange(8)
        try:
            opened(bytes(made))
        except BadArchiveError:
            refused += 1
        else:
            # A few bits of deflate are padding and say nothing.
            assert gzip.decompress(made) == gzip.decompress(whole)
    assert refused > 70


def test_mutated_archives_are_read_or_refused(opened, tmp_path):
    """Bytes changed within the tar, so that no checksum of gzip's stands before it."""
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
            found = opened(gzip.compress(bytes(made), 1))
        except BadArchiveError:
            refused += 1
        else:
            read += 1
            held = {name: len(content) for name, content in tree(tmp_path / "into").items()}
            assert held == found.sizes
        assert {path.name for path in tmp_path.iterdir()} == {PNG, "into"}
    assert min(read, refused) > 20
