"""Malformed and hostile reports of MIMIC-CXR, in a tree or an archive."""

from __future__ import annotations

import os
import random
import zipfile

import pytest
from support import mimic_refusal, mimic_tree

from robustness.errors import GateError

ARCHIVE = "mimic-cxr-reports.zip"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Six studies without report files."""
    return mimic_tree.build(tmp_path_factory.mktemp("mimic") / "jpg", studies=6, drawn=1)


def load(tree, place):
    return mimic_refusal.load(tree.root, f"{mimic_refusal.ALL},reports={place}")


def refused(tree, place):
    messages = mimic_refusal.refused(tree.root, f"{mimic_refusal.ALL},reports={place}")
    assert str(place) in messages
    return messages


def first(tree):
    return mimic_tree.name_of(*next(iter(tree.texts)))


# --- a tree of files ----------------------------------------------------------------------


@pytest.fixture
def folder(tree, tmp_path):
    mimic_tree.put_reports(tmp_path / "reports", tree)
    return tmp_path / "reports"


def report_of(tree, folder, content):
    """Return the parsed report of the first study if its file has this content."""
    (folder / first(tree)).write_bytes(content)
    study = f"s{next(iter(tree.texts))[1]}"
    return next(pair.report for pair in load(tree, folder).pairs if pair.study_id == study)


@pytest.mark.parametrize(
    ("content", "findings"),
    [
        (b" FINDINGS: Clear.", "Clear."),
        (b"\xef\xbb\xbf FINDINGS: Clear.", "Clear."),
        (" FINDINGS: 5 µm.".encode(), "5 µm."),
        (" FINDINGS: 5 µm.".encode("latin-1"), "5 µm."),
        (b" FINDINGS: \xc3( clear.", "Ã( clear."),
        (b" FINDINGS: Clear.\r\n\r\n", "Clear."),
    ],
    ids=["ASCII", "byte order mark", "UTF-8", "Latin-1", "half a letter", "Windows"],
)
def test_a_report_that_is_not_utf_8_is_read_as_latin_1(tree, folder, content, findings):
    assert report_of(tree, folder, content).findings == findings


def test_a_report_that_is_not_text(tree, folder):
    path = folder / first(tree)
    for content in (" FINDINGS: Clear.".encode("utf-16"), b"FINDINGS: \0", bytes(4096)):
        path.write_bytes(content)
        assert f"{first(tree)} is not text: it contains a zero byte" in refused(tree, folder)


def test_a_report_that_is_too_large(tree, folder):
    with (folder / first(tree)).open("wb") as file:
        file.truncate(1 << 32)
    assert f"{first(tree)} is larger than 262144 bytes" in refused(tree, folder)


def test_a_hostile_report_is_read_in_time(tree, folder):
    """The maximum number of headings, and the longest runs of one character."""
    size = 1 << 18
    for text in ("IMPRESSION: AA ", "AB CD EF GH IJ: ", " ", "_", ". Aa", "A:\n", "\n "):
        filler = (text * (size // len(text)))[: size - 32]
        report = report_of(tree, folder, f"{filler}\n IMPRESSION: Clear.".encode())
        assert "Clear." in report.impression + report.undivided


def test_a_report_that_leaves_its_folder(tree, folder, tmp_path):
    path = folder / first(tree)
    path.rename(tmp_path / "elsewhere.txt")
    path.symlink_to(tmp_path / "elsewhere.txt")
    assert "is outside" in refused(tree, folder)
    path.unlink()
    path.symlink_to(path)
    assert "is outside" in refused(tree, folder) or "is not a valid path" in refused(tree, folder)


def test_a_folder_or_a_named_pipe_is_not_a_report(tree, folder):
    path = folder / first(tree)
    path.unlink()
    path.mkdir()
    assert f"report {path} is not a regular file" in refused(tree, folder)
    path.rmdir()
    os.mkfifo(path)
    assert f"report {path} is not a regular file" in refused(tree, folder)


def test_a_folder_without_reports_is_refused(tree, tmp_path):
    (tmp_path / "empty").mkdir()
    messages = refused(tree, tmp_path / "empty")
    assert "no report found for 6 studies, such as files/p10/p10000032/s50414267" in messages


# --- an archive -----------------------------------------------------------------------------


def packed(tree, path, *, method=zipfile.ZIP_DEFLATED, **others):
    """Write an archive of all reports and of other entries."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for key, text in tree.texts.items():
            archive.writestr(mimic_tree.name_of(*key), text)
        for name, content in others.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["../x.txt", "files/../../x.txt", "/etc/x.txt", "a\\..\\x.txt"])
def test_a_name_that_leaves_the_archive(tree, tmp_path, name):
    path = packed(tree, tmp_path / ARCHIVE, **{name: "x"})
    assert f"{name!r} leaves the archive's folder" in refused(tree, path)


def test_a_study_with_two_reports(tree, tmp_path):
    path = packed(tree, tmp_path / ARCHIVE, **{f"again/{first(tree)}": "IMPRESSION: Other."})
    assert "study 50414267 has two reports" in refused(tree, path)
    with pytest.warns(UserWarning, match="Duplicate name"):
        packed(tree, path, **{first(tree): "IMPRESSION: Other."})
    assert "study 50414267 has two reports" in refused(tree, path)


def test_other_files_in_an_archive_are_ignored(tree, tmp_path):
    mimic_tree.put_archive(tmp_path / ARCHIVE, tree)
    others = {"LICENSE.txt": "x", "files/p10/p10000032/notes.txt": "x", "files/p10/s1.txt": "x"}
    path = packed(tree, tmp_path / "more.zip", **others)
    assert load(tree, path).pairs == load(tree, tmp_path / ARCHIVE).pairs


def test_an_archive_without_reports_is_refused(tree, tmp_path):
    with zipfile.ZipFile(tmp_path / ARCHIVE, "w"):
        pass
    assert "no report found for 6 studies" in refused(tree, tmp_path / ARCHIVE)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_with_another_compression(tree, tmp_path, method):
    path = packed(tree, tmp_path / ARCHIVE, method=method)
    assert f"is compressed by method {method}; allowed are stored (0)" in refused(tree, path)


def test_a_report_that_is_too_large_when_unpacked(tree, tmp_path):
    path = tmp_path / ARCHIVE
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(first(tree), bytes(200_000_000))
    assert path.stat().st_size < 300_000
    assert "is larger than 262144 bytes" in refused(tree, path)


def central(path, offset, value):
    """Overwrite bytes of the first central directory entry (offsets of APPNOTE 4.3.12)."""
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02") + offset
    content[at : at + len(value)] = value
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("offset", "value", "messages"),
    [
        (8, b"\x01\x00", "encrypted, password required"),
        (10, b"\x63\x00", "is compressed by method 99"),
        (16, b"\0\0\0\0", "Bad CRC-32"),
        (24, b"\x0a\0\0\0", "Bad CRC-32"),
        (24, b"\xff\xff\xff\x7f", "is larger than 262144 bytes"),
        (42, b"\xff\xff\xff\x7f", "cannot be read"),
        (42, b"\x05\0\0\0", "Bad magic number for file header"),
    ],
    ids=["encrypted", "AES", "checksum", "shorter", "longer", "beyond the end", "place"],
)
def test_an_inconsistent_entry(tree, tmp_path, offset, value, messages):
    path = packed(tree, tmp_path / ARCHIVE)
    central(path, offset, value)
    message = refused(tree, path)
    assert first(tree) in message
    assert messages in message


def test_an_incomplete_archive(tree, tmp_path):
    content = packed(tree, tmp_path / "whole.zip").read_bytes()
    path = tmp_path / ARCHIVE
    for part in (b"", content[: len(content) // 2], content[:-1], b"no archive", bytes(30)):
        path.write_bytes(part)
        assert f"reports {path} cannot be read" in refused(tree, path)


@pytest.mark.parametrize("place", [2**62, 2**64 - 1])
def test_an_impossible_offset(tree, tmp_path, place):
    with zipfile.ZipFile(tmp_path / ARCHIVE, "w") as archive:
        archive.writestr(first(tree), "IMPRESSION: Clear.")
        archive.infolist()[0].header_offset = place
    assert f"report {first(tree)} in " in refused(tree, tmp_path / ARCHIVE)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_mutated_archive_is_read_or_refused(tree, tmp_path, method):
    content = packed(tree, tmp_path / "whole.zip", method=method).read_bytes()
    before = load(tree, tmp_path / "whole.zip")
    path = tmp_path / ARCHIVE
    rng = random.Random(method)  # noqa: S311 - nothing here is secret
    messages = []
    for _ in range(250):
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 1, 2, 6))):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            loaded = load(tree, path)
        except GateError as error:
            messages.append(str(error))
            continue
        # The checksum protects texts; if a name changes, its study is excluded and counted.
        reports = {pair.study_id: pair.report for pair in before.pairs}
        assert all(reports[pair.study_id] == pair.report for pair in loaded.pairs)
        assert len(loaded) + len(loaded.excluded) == len(before)
    assert 50 < len(messages) < 250
    assert all(each.isprintable() for each in messages)
