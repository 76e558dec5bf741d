"""Tar shards in the form of WebDataset."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest
import webdataset
from support.table_files import (
    ROWS,
    decode_with_pillow,
    load,
    pixels,
    png,
    refuses,
    tar_of,
    write_images,
    write_table,
)

from robustness.errors import EvaluationSetError, UsageError
from robustness.evalset import Report

NO_REPORT = "no findings, no impression and no undivided report"
NO_IMAGE = "sample without an image"
NO_KEY = "member without a key and an extension"
NAMED = [row for row in ROWS if row]
GOOD = ("a", {"png": png(0), "txt": "Clear."})


def wds(pattern, *options):
    return load(pattern, *options, kind="webdataset")


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path)
    return tmp_path


def sample_of(folder, row):
    extension = row["image"].rpartition(".")[2]
    record = {key: value for key, value in row.items() if key != "image"}
    return {extension: (folder / row["image"]).read_bytes(), "json": record}


def write_with_library(path, samples):
    with webdataset.TarWriter(str(path)) as writer:
        for key, members in samples:
            writer.write(
                {"__key__": key}
                | {  # the library encodes values other than bytes by extension
                    extension: content.encode() if isinstance(content, str) else content
                    for extension, content in members.items()
                }
            )
    return path


# --- valid shards ----------------------------------------------------------------------------


@pytest.mark.parametrize("write", [write_with_library, tar_of])
def test_samples_equal_a_manifest(folder, write):
    samples = [(f"{i:03}", sample_of(folder, row)) for i, row in enumerate(NAMED)]
    write(folder / "0.tar", samples[:2])
    write(folder / "1.tar", samples[2:])
    loaded = wds(folder / "{0..1}.tar", "side=native")
    table = load(write_table(folder / "set.csv", ROWS), "side=native")
    assert [pair.image_id for pair in loaded.pairs] == ["000", "001", "002", "004", "005"]
    assert loaded.excluded_by_reason == {NO_REPORT: 1}
    for pair, known in zip(loaded.pairs, table.pairs, strict=True):
        assert (pair.digest, pair.report, pair.labels) == (known.digest, known.report, known.labels)
        assert pair.view == known.view
        image = loaded.decode(pair)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, decode_with_pillow(folder / known.image_id))
    assert [pair.study_id for pair in loaded.pairs] == ["s1", "s1", "s2", "004", "005"]


# The library does not close a shard after reading it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_library_reader_yields_the_same_samples(folder):
    samples = [(f"{i:03}", sample_of(folder, row)) for i, row in enumerate(NAMED)]
    tar_of(folder / "0.tar", samples)
    loaded = wds(folder / "0.tar")
    read = {
        s["__key__"]: s for s in webdataset.WebDataset(str(folder / "0.tar"), shardshuffle=False)
    }
    assert {pair.image_id for pair in loaded.pairs} <= set(read)
    assert len(read) == len(loaded) + len(loaded.excluded)
    for pair in loaded.pairs:
        said = json.loads(read[pair.image_id]["json"])
        assert pair.report.findings == " ".join(said.get("findings", "").split())


@pytest.mark.parametrize(
    ("members", "report"),
    [
        ({"txt": " Größe\r\n normal. "}, Report(undivided="Größe normal.")),
        ({"txt": b"\xef\xbb\xbfClear."}, Report(undivided="Clear.")),
        ({"json": {"findings": "Clear.", "impression": "Normal."}},
         Report(findings="Clear.", impression="Normal.")),
        ({"json": {"Report": "Clear."}}, Report(undivided="Clear.")),
        ({"txt": "Clear.", "json": {"view": "PA"}}, Report(undivided="Clear.")),
        ({"txt": "All.", "json": {"findings": "Clear."}}, Report(findings="Clear.")),
        ({"TXT": "Clear.", "cls": "3", "seg.png": b"x", "__bad__": b"1"},
         Report(undivided="Clear.")),
    ],
)  # fmt: skip
def test_report_members(tmp_path, members, report):
    tar_of(tmp_path / "0.tar", [("a", {"png": png()} | members)])
    (pair,) = wds(tmp_path / "0.tar").pairs
    assert pair.report == report


def test_columns_of_json_that_are_not_read_are_named(tmp_path):
    """The image, and a report in a text member, need no column."""
    record = {"finding": "Clear.", "impression": "Mass.", "image": "a.png", "Reports": "x"}
    samples = [("a", {"png": png(0), "json": record}), ("b", {"png": png(1), "json": {"pid": 3}})]
    loaded = wds(tar_of(tmp_path / "0.tar", samples))
    assert [(each.column, each.meant) for each in loaded.unread] == [
        ("finding", "findings"), ("image", ""), ("Reports", "report"), ("pid", "patient"),
    ]  # fmt: skip
    samples[1][1]["txt"] = "Clear."
    loaded = wds(tar_of(tmp_path / "1.tar", samples))
    assert loaded.misnamed == {"finding": "findings", "pid": "patient"}


@pytest.mark.parametrize("extension", ["png", "jpg", "jpeg", "tif", "tiff", "PNG", "dcm"])
def test_extensions_of_images(tmp_path, extension):
    """The format is detected from the content, not from the extension."""
    tar_of(tmp_path / "0.tar", [("a", {extension: png(3), "txt": "Clear."})])
    loaded = wds(tmp_path / "0.tar")
    np.testing.assert_array_equal(loaded.decode(loaded.pairs[0]), pixels(3))


def test_exclusions_are_counted(tmp_path):
    tar_of(
        tmp_path / "0.tar",
        [
            GOOD,
            ("b", {"txt": "No image."}),
            ("c", {"png": png(1)}),
            ("d", {"png": png(2), "txt": " \n"}),
            ("e", {"cls": "1"}),
        ],
    )
    with tarfile.open(tmp_path / "0.tar", "a") as archive:
        for name in ("README", ".hidden", "__readme__", "x/__meta__/f.txt", "__meta__/g.txt"):
            archive.addfile(tarfile.TarInfo(name))
        folder = tarfile.TarInfo("sub")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    loaded = wds(tmp_path / "0.tar")
    assert len(loaded) == 1
    assert loaded.excluded_by_reason == {NO_REPORT: 2, NO_IMAGE: 3, NO_KEY: 2}
    assert {e.item for e in loaded.excluded} >= {"0.tar: README", "0.tar: .hidden", "b", "e"}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar_and_folders_in_it(tmp_path, form):
    name = "ordner/" + "ü" * 60 + "/1.2.3/" + "x" * 40
    with tarfile.open(tmp_path / "0.tar", "w", format=form) as archive:
        for extension, content in (("png", png(5)), ("txt", b"Clear.")):
            info = tarfile.TarInfo(f"./{name}.{extension}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    loaded = wds(tmp_path / "0.tar")
    (pair,) = loaded.pairs
    assert pair.image_id == f"./{name}"
    np.testing.assert_array_equal(loaded.decode(pair), pixels(5))


def test_columns_are_named_by_options(tmp_path):
    record = {"Befund": "Clear.", "Finding Labels": "Mass|Edema"}
    tar_of(tmp_path / "0.tar", [("a", {"png": png(), "json": record})])
    (pair,) = wds(tmp_path / "0.tar", "report=Befund", "labels=Finding Labels").pairs
    assert pair.report.undivided == "Clear."
    assert pair.labels == {"Mass", "Edema"}
    refuses_shard = "no column 'report', 'findings' or 'impression'; the columns are 'Befund'"
    with pytest.raises(EvaluationSetError, match=refuses_shard):
        wds(tmp_path / "0.tar")


# --- shard patterns ----------------------------------------------------------------------------


@pytest.fixture
def shards(tmp_path, monkeypatch):
    for i in range(12):
        tar_of(tmp_path / f"{i:03}.tar", [(f"k{i}", {"png": png(i), "txt": f"Report {i}."})])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [
        ("000.tar", [0]),
        ("{000..011}.tar", range(12)),
        ("{000..010..5}.tar", [0, 5, 10]),
        ("{011..009}.tar", [11, 10, 9]),
        ("{003,001}.tar", [3, 1]),
        ("0{00,1{0..1}}.tar", [0, 10, 11]),
        ("*.tar", range(12)),
        ("00[13].tar", [1, 3]),
        ("{01?,000}.tar", [10, 11, 0]),
        ("{000..002}.ta{r,r}", [0, 1, 2]),
    ],
)
def test_patterns_expand_to_shards_in_order(shards, pattern, numbers):
    expected = [f"k{i}" for i in numbers]
    assert [pair.image_id for pair in wds(pattern).pairs] == expected
    assert [pair.image_id for pair in wds(shards / pattern).pairs] == expected


def test_existing_file_with_brackets_is_not_a_pattern(shards):
    (shards / "000.tar").rename(shards / "[x].tar")
    assert [pair.image_id for pair in wds("[x].tar").pairs] == ["k0"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{000..012}.tar", "no shard 012.tar"),
        ("x*.tar", r"no shard matches x\*.tar"),
        (".", "is a folder; name the shards in it, webdataset:./\\*.tar"),
        ("{000..001", "Unbalanced braces: .*; write braces as in"),
        ("{0..999999999}.tar", "expands to more than 10,000 shards"),
        ("{0..9}" * 5, "expands to more than 10,000 shards"),
        ("{0..99999999999999999999999999999}.tar", "expands to more than 10,000 shards"),
        ("{" + "1" * 5000 + "..2}.tar", "digits"),
        ("{a,b}" * 14, "expands to more than 10,000 shards"),
        ("{a,b" * 400 + "}" * 400, "recursion"),
        ("set.tar.gz", "is not a .tar file; shards must not be compressed"),
    ],
    ids=lambda value: value[:20],
)
def test_invalid_patterns(shards, pattern, message):
    (shards / "set.tar.gz").touch()
    with pytest.raises(UsageError, match=message) as caught:
        wds(pattern)
    assert str(caught.value).isprintable()


def test_a_shard_that_shrinks_is_named(tmp_path):
    loaded = wds(tar_of(tmp_path / "0.tar", [GOOD]))
    (tmp_path / "0.tar").write_bytes((tmp_path / "0.tar").read_bytes()[:600])
    with pytest.raises(EvaluationSetError, match=r"0\.tar: a\.png is truncated; the shard changed"):
        loaded.decode(loaded.pairs[0])


def test_too_long_text_is_refused(tmp_path, monkeypatch):
    from robustness.evalset import webdataset as kind

    monkeypatch.setattr(kind, "MAX_TEXT_BYTES", 5)
    refuses(tar_of(tmp_path / "0.tar", [GOOD]), "0.tar, sample a.txt is longer", kind="webdataset")
