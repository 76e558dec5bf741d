"""Invalid rows of a table: each error is one line that names the file and the row."""

from __future__ import annotations

import json
import os

import pytest
from support.table_files import load, png, refuses, write_rows

from robustness.errors import EvaluationSetError, UsageError

HEAD = "image,report\n"
GOOD = "a.png,Clear.\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "set").mkdir()
    for name in ("set/a.png", "set/b.png", "outside.png"):
        (tmp_path / name).write_bytes(png())
    (tmp_path / "set" / "sub").mkdir()
    (tmp_path / "set" / "link.png").symlink_to(tmp_path / "outside.png")
    (tmp_path / "set" / "up").symlink_to(tmp_path)
    (tmp_path / "set" / "loop.png").symlink_to("loop.png")
    return tmp_path / "set"


CELLS = {
    "no image": (["", "Clear."], "row 2 (line 3): no image; every row that is not empty must"),
    "a missing image": (["gone.png", "Clear."], "gone.png does not exist"),
    "a folder": (["sub", "Clear."], "sub is a folder"),
    "a Windows path": (["sub\\b.png", "Clear."], "does not exist; write / between folders, not \\"),
    "a path out of the folder": (
        ["../outside.png", "Clear."], "'../outside.png' is outside"),
    "an absolute path": (["/etc/passwd", "Clear."], "'/etc/passwd' is outside"),
    "a link out of the folder": (["link.png", "Clear."], "'link.png' is outside"),
    "a folder that is a link": (["up/outside.png", "Clear."], "'up/outside.png' is outside"),
    "a link to itself": (["loop.png", "Clear."], "loop.png"),
    "a path too long": (["b" * 300, "Clear."], "File name too long"),
    "line breaks in a path": (["b\n\x1b[2Jc", "Clear."], "b\\n\\x1b[2Jc does not exist"),
    "an address": (["https://example.org/b.png", "Clear."], "example.org/b.png does not exist"),
    "the same image": (["a.png", "Clear."], "duplicate image 'a.png', first in"),
    "the same image by another path": (
        ["sub/../a.png", "Clear."], "duplicate image 'sub/../a.png', first in"),
    "a report that is NaN": (["b.png", "NaN"], "report is 'NaN', which stands for a missing"),
    "a report that is None": (["b.png", " None "], "report is 'None', which stands for a missing"),
    "a report that is null": (["b.png", "NULL"], "report is 'NULL', which stands for a missing"),
    "a report that is NA": (["b.png", "<NA>"], "report is '<NA>', which stands for a missing"),
}  # fmt: skip


@pytest.mark.parametrize(("cells", "message"), CELLS.values(), ids=CELLS)
def test_invalid_cells(folder, cells, message):
    path = write_rows(folder / "set.csv", ["image", "report"], ["a.png", "Clear."], cells)
    refuses(path, message)
    refuses(path, "row 2 (line 3)")


FIELDS = {
    "two reports of one study": (
        {"image": "b.png", "report": "Mass.", "study": "s1", "patient": "p1"},
        "row 2 (line 2): study 's1' has another report than in"),
    "two patients of one study": (
        {"image": "b.png", "report": "Clear.", "study": "s1", "patient": "p2"},
        "row 2 (line 2): study 's1' has another patient than in"),
    "labels in a list of text": (
        {"image": "b.png", "report": "x", "labels": "['Edema', 'Mass']"}, "are a list in a text"),
    "labels apart by ;": ({"image": "b.png", "report": "x", "labels": "Edema;Mass"}, "contain ';'"),
    "labels and none": (
        {"image": "b.png", "report": "x", "labels": "Edema|No Finding"},
        "contain both findings and a value for none"),
    "a study that is nan": ({"image": "b.png", "report": "x", "study": "nan"}, "study is 'nan'"),
    "labels that are nan": ({"image": "b.png", "report": "x", "labels": "nan"}, "labels is 'nan'"),
}  # fmt: skip


@pytest.mark.parametrize(("row", "message"), FIELDS.values(), ids=FIELDS)
def test_rows_that_contradict(folder, row, message):
    first = {"image": "a.png", "report": "Clear.", "study": "s1", "patient": "p1", "labels": ["M"]}
    path = folder / "set.jsonl"
    path.write_text(f"{json.dumps(first)}\n{json.dumps(row)}\n")
    refuses(path, message)


def test_words_for_missing_values_inside_texts(folder):
    """Words such as None are allowed within a text and in fields where they are usual."""
    row = {"image": "a.png", "findings": "None seen.", "comparison": "None", "labels": "None"}
    path = folder / "set.jsonl"
    path.write_text(json.dumps(row))
    (pair,) = load(path).pairs
    assert (pair.report.findings, pair.report.comparison) == ("None seen.", "None")
    assert pair.labels == frozenset()


def test_a_file_that_is_not_an_image_is_an_error_when_decoded(folder):
    (folder / "b.png").write_text("no image")
    loaded = load(write_rows(folder / "set.csv", ["image", "report"], ["b.png", "Clear."]))
    with pytest.raises(EvaluationSetError, match=r"image .*b\.png is not in a supported format"):
        loaded.decode(loaded.pairs[0])


def test_an_image_that_is_deleted_after_loading(folder):
    loaded = load(write_rows(folder / "set.csv", ["image", "report"], ["b.png", "Clear."]))
    (folder / "b.png").unlink()
    with pytest.raises(EvaluationSetError, match=r"row 1 .line 2.: image .*b\.png cannot be read"):
        loaded.decode(loaded.pairs[0])


# --- the specification --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("set", "is a folder; name the table in it, such as a .csv file"),
        ("gone.csv", "no file gone.csv"),
        ("set.xlsx", "set.xlsx has an unknown suffix; allowed are .csv, .tsv"),
        ("set.json", "set.json has an unknown suffix; allowed are"),
        ("set.parquet.gz", "set.parquet.gz has an unknown suffix; allowed are"),
        ("set.csv,sep=;", "unknown option 'sep'; allowed: side="),
        ("set.csv,root=gone", "no folder gone"),
        ("set.csv,side=0", "option side is '0'; allowed are maximum pixels"),
        ("set.csv,image=a,image=b", "duplicate option 'image'"),
    ],
)
def test_invalid_specifications(folder, monkeypatch, spec, message):
    monkeypatch.chdir(folder.parent)
    for name in ("set.csv", "set.xlsx", "set.json", "set.parquet.gz"):
        (folder.parent / name).write_text(HEAD + GOOD)
    with pytest.raises(UsageError) as caught:
        load(spec)
    assert message in str(caught.value)


def test_a_named_pipe_is_not_an_image(folder):
    os.mkfifo(folder / "pipe.png")
    path = write_rows(folder / "set.csv", ["image", "report"], ["pipe.png", "Clear."])
    refuses(path, "row 1 (line 2): image")
